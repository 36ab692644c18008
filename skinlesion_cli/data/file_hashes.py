"""What a data set consists of, file by file, so that a run knows its images again."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skinlesion_cli.common.csv_files import read_table, write_csv
from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.data.splits import Split

Contents = dict[str, dict[str, str]]
"""Of each split, the SHA-256 of each file by its name: `Class/file`."""

EDGE_BYTES = 64 * 1024
"""Of a file larger than two of these, the first and the last are hashed, with its size: a photograph that is
edited or cut changes there, and reading more would take long for thousands of large ones."""


def contents_of(splits: Mapping[str, Split]) -> Contents:
    """Read all files of the splits.

    Raises:
        UnreadableImageError: a file is gone or may not be read.
    """
    return {
        name: {_name(file): _hash(split.root / file) for file in split.files}
        for name, split in splits.items()
    }


def summary_of(contents: Contents) -> dict[str, dict[str, Any]]:
    """Of each split: how many images, and one SHA-256 over the names and hashes of all."""
    summary = {}
    for split, files in contents.items():
        digest = hashlib.sha256()
        for name, one in sorted(files.items()):
            digest.update(f"{name}\0{one}\n".encode())
        summary[split] = {"images": len(files), "sha256": digest.hexdigest()}
    return summary


def write_contents(path: Path, contents: Contents) -> None:
    """Write a CSV file, `split,file,sha256`."""
    rows = [(split, name, one) for split, files in contents.items() for name, one in files.items()]
    write_csv(path, ["split", "file", "sha256"], rows)


def read_contents(path: Path) -> Contents:
    """What `write_contents` wrote; nothing where there is no such file."""
    contents: Contents = {}
    try:
        for row in read_table(path)[1]:
            contents.setdefault(row["split"], {})[row["file"]] = row["sha256"]
    except (InputError, KeyError):
        return {}
    return contents


def differences(before: Contents, now: Contents) -> str:
    """For people, of each split that differs: `train: 2 files added, 1 removed, 3 changed`."""
    texts = []
    for split in dict.fromkeys([*before, *now]):
        was, holds = before.get(split, {}), now.get(split, {})
        counts = Counter(
            added=len(holds.keys() - was.keys()),
            removed=len(was.keys() - holds.keys()),
            changed=sum(was[name] != holds[name] for name in was.keys() & holds.keys()),
        )
        if counts.total():
            said = [f"{number} {what}" for what, number in counts.items() if number]
            texts.append(f"{split}: {', '.join(said)}")
    return "; ".join(texts)


def _name(file: Path) -> str:
    # A name that is no text stays tellable, and can be written as text.
    return os.fsencode(file.as_posix()).decode("utf-8", "backslashreplace")


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= 2 * EDGE_BYTES:
                return hashlib.sha256(file.read()).hexdigest()
            digest = hashlib.sha256(f"{size}\0".encode() + file.read(EDGE_BYTES))
            file.seek(-EDGE_BYTES, os.SEEK_END)
            digest.update(file.read())
            return digest.hexdigest()
    except OSError as error:
        raise UnreadableImageError(f"cannot read {path}: {error.strerror or error}") from None
