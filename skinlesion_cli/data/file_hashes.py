"""The files of a data set and their hashes, by which a resumed run recognises its images."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from skinlesion_cli.common.csv_files import read_table, write_csv
from skinlesion_cli.common.errors import InputError

Contents = dict[str, dict[str, str]]
"""For each split, the SHA-256 of each file by its name, `Class/file`."""

EDGE_BYTES = 64 * 1024
"""A file of more than twice this size is hashed by its size and its first and last bytes: an edited or
truncated photograph changes there, and reading thousands of large files whole would take long."""


def hash_of(file: BinaryIO) -> str:
    """SHA-256 of an open file, or of the size and both ends of a large one (see `EDGE_BYTES`)."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    if size <= 2 * EDGE_BYTES:
        return hashlib.sha256(file.read()).hexdigest()
    digest = hashlib.sha256(f"{size}\0".encode() + file.read(EDGE_BYTES))
    file.seek(-EDGE_BYTES, os.SEEK_END)
    digest.update(file.read())
    return digest.hexdigest()


def name_of(file: Path) -> str:
    """A file's name as in `Contents` and files.csv; bytes that are not UTF-8 are escaped."""
    return os.fsencode(file.as_posix()).decode("utf-8", "backslashreplace")


def summary_of(contents: Contents) -> dict[str, dict[str, Any]]:
    """For each split, the number of images and one SHA-256 over all names and hashes."""
    summary = {}
    for split, files in contents.items():
        digest = hashlib.sha256()
        for name, one in sorted(files.items()):
            digest.update(f"{name}\0{one}\n".encode())
        summary[split] = {"images": len(files), "sha256": digest.hexdigest()}
    return summary


def write_contents(path: Path, contents: Contents) -> None:
    """Write a CSV file with the columns `split,file,sha256`."""
    rows = [(split, name, one) for split, files in contents.items() for name, one in files.items()]
    write_csv(path, ["split", "file", "sha256"], rows)


def read_contents(path: Path) -> Contents:
    """Read what `write_contents` wrote; empty if the file is missing or damaged."""
    contents: Contents = {}
    try:
        for row in read_table(path)[1]:
            contents.setdefault(row["split"], {})[row["file"]] = row["sha256"]
    except (InputError, KeyError):
        return {}
    return contents


def differences(before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> str:
    """Describe how two `Contents` differ, split by split: `train: 2 added, 1 removed; val: 3 changed`."""
    texts = []
    for split in dict.fromkeys([*before, *now]):
        was, holds = before.get(split, {}), now.get(split, {})
        counts = Counter(
            added=len(holds.keys() - was.keys()),
            removed=len(was.keys() - holds.keys()),
            changed=sum(was[name] != holds[name] for name in was.keys() & holds.keys()),
        )
        if counts.total():
            parts = [f"{number} {what}" for what, number in counts.items() if number]
            texts.append(f"{split}: {', '.join(parts)}")
    return "; ".join(texts)
