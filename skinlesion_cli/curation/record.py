"""When a data set was last checked, kept in the user's cache folder; the data's own is never written to."""

import datetime
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.errors import SkinLesionError
from skinlesion_cli.common.files import user_cache_folder, write_text


@dataclass(frozen=True)
class LastCheck:
    """The last check of a data set."""

    when: str
    """ISO 8601, UTC."""
    verdict: str
    leaking: bool | None
    """Whether splits shared photographs or groups; None where an older version did not note it."""
    outdated: bool
    """Whether a file has changed since."""


def remember_check(folder: Path, verdict: str, *, leaking: bool) -> None:
    """Note that a data set was checked now, and what was found.

    A cache that cannot be written is no error.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"folder": str(folder.resolve()), "state": _state(folder), "when": now}
    path = _record_of(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(entry | {"verdict": verdict, "leaking": leaking}))
    except (OSError, SkinLesionError):
        return


def read_check(folder: Path) -> LastCheck | None:
    """The last check of a data set; None where there was none."""
    try:
        entry = json.loads(_record_of(folder).read_text(encoding="utf-8"))
        outdated = entry["state"] != _state(folder)
        leaking = entry.get("leaking")
        return LastCheck(str(entry["when"]), str(entry["verdict"]), leaking, outdated)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def last_check(folder: Path) -> str:
    """One line that says whether a data set was ever checked, when, and what was found."""
    check = read_check(folder)
    if check is None:
        return f"{folder} was never checked for leaks: skinlesion data check {folder}"
    if check.outdated:
        return f"{folder} has changed since it was checked on {check.when}: skinlesion data check {folder}"
    return f"{folder} was checked on {check.when}: {check.verdict}"


def _record_of(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    return user_cache_folder() / "checks" / f"{name}.json"


def _state(folder: Path) -> str:
    """A hash of the names, sizes and times of all files: cheap, and another one when any file changes."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            digest.update(os.fsencode(path.relative_to(folder)))
            digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()
