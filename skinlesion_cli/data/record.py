"""When a data set was last checked, kept in the user's cache folder; the data's own is never written to."""

import datetime
import hashlib
import json
import os
from pathlib import Path

from skinlesion_cli.core.errors import SkinLesionError
from skinlesion_cli.core.files import user_cache_folder, write_text


def remember_check(folder: Path, verdict: str) -> None:
    """Note that a data set was checked now, and what was found.

    A cache that cannot be written is no error.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"folder": str(folder.resolve()), "state": _state(folder), "when": now, "verdict": verdict}
    path = _record_of(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(entry))
    except (OSError, SkinLesionError):
        return


def last_check(folder: Path) -> str:
    """One line that says whether a data set was ever checked, when, and what was found."""
    never = f"{folder} was never checked for leaks: skinlesion data check {folder}"
    try:
        entry = json.loads(_record_of(folder).read_text(encoding="utf-8"))
        when, verdict, state = str(entry["when"]), str(entry["verdict"]), entry["state"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return never
    if state != _state(folder):
        return f"{folder} has changed since it was checked on {when}: skinlesion data check {folder}"
    return f"{folder} was checked on {when}: {verdict}"


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
