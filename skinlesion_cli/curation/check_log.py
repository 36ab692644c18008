"""When a data set was last checked: recorded in the user's cache folder, never in the data folder."""

import datetime
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.files import user_cache_folder, write_text
from skinlesion_cli.data.manifest import MANIFEST
from skinlesion_cli.data.splits import is_table
from skinlesion_cli.data.suffixes import has_image_suffix
from skinlesion_cli.data.table import read_data_table


@dataclass(frozen=True)
class LastCheck:
    """The last check of a data set."""

    when: str
    """ISO 8601, UTC."""
    verdict: str
    leaking: bool
    """Whether a photograph or a group was in more than one split."""
    outdated: bool
    """Whether an image or the manifest has changed since."""


def remember_check(folder: Path, verdict: str, *, leaking: bool, images: Path | None = None) -> None:
    """Record that a data set was checked now, and the result; a cache that cannot be written is ignored.

    The data set is a folder, or a table of files in `images`, as in `read_data_table`.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"state": _state(folder, images), "when": now, "verdict": verdict, "leaking": leaking}
    path = _entry_file(folder)
    with suppress(OSError, SkinLesionError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(entry))


def read_check(folder: Path, images: Path | None = None) -> LastCheck | None:
    """The last check of a data set; None if it was never checked."""
    try:
        entry = json.loads(_entry_file(folder).read_text(encoding="utf-8"))
        found = LastCheck(str(entry["when"]), str(entry["verdict"]), bool(entry["leaking"]), outdated=True)
        before = entry["state"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InputError):
        return None
    try:
        return replace(found, outdated=before != _state(folder, images))
    except (OSError, InputError):
        # A table whose images no longer all exist.
        return found


def last_check(folder: Path, images: Path | None = None) -> str:
    """One line that says whether and when a data set was checked, and the result."""
    check = read_check(folder, images)
    command = f"skinlesion data check {folder}" + (f" --images {images}" if images else "")
    if check is None:
        return f"{folder} has not been checked for leaks; run: {command}"
    if check.outdated:
        return f"{folder} has changed since it was checked on {check.when}; run: {command}"
    return f"{folder} was checked on {check.when}: {check.verdict}"


def _entry_file(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    return user_cache_folder() / "checks" / f"{name}.json"


def _state(folder: Path, images: Path | None) -> str:
    """A hash of the names, sizes and times of the images and the manifest, but not of other files."""
    root, digest = folder, hashlib.sha256()
    if is_table(folder):
        table = read_data_table(folder, images)
        root, paths = table.root, table.paths
        # Only the columns of the table that matter here.
        rows = [(row.file, row.label, row.split, row.group) for row in table.rows]
        digest.update(json.dumps(rows).encode())
    else:
        paths = [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and (has_image_suffix(path) or path.name == MANIFEST)
        ]
    for path in paths:
        status = path.stat()
        digest.update(os.fsencode(path.relative_to(root)))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()
