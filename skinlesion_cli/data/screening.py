"""Leaving out what cannot be read, before the first draw, so that the set of images is fixed for the run."""

import dataclasses
import json
from collections.abc import Container, Mapping
from pathlib import Path

from skinlesion_cli.common.errors import InputError, UnreadableImageError, first_few
from skinlesion_cli.common.files import write_text
from skinlesion_cli.common.world import World
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.splits import Split
from skinlesion_cli.data.workers import map_files


def fault_of(path: Path) -> str:
    """Why a file cannot be read as a photograph, to its last pixel; an empty text where it can."""
    try:
        read_image(path)
    except UnreadableImageError as error:
        return str(error)
    return ""


def readable_splits(splits: Mapping[str, Split], workers: int) -> tuple[dict[str, Split], list[str]]:
    """Decode every file of the splits and leave out those that cannot be read.

    Args:
        splits: by name.
        workers: processes that decode.

    Returns:
        The splits without them, and why each is left out.

    Raises:
        InputError: a class is left without images.
    """
    kept: dict[str, Split] = {}
    faults: list[str] = []
    for name, split in splits.items():
        found = list(map_files(fault_of, split.paths, workers))
        good = [index for index, fault in enumerate(found) if not fault]
        kept[name] = dataclasses.replace(
            split,
            files=tuple(split.files[index] for index in good),
            labels=tuple(split.labels[index] for index in good),
        )
        faults += filter(None, found)
        empty = [class_name for class_name, count in kept[name].counts.items() if count == 0]
        if empty:
            raise InputError(
                f"{split.root}: no image of {first_few(empty)} can be read ({next(filter(None, found))}); "
                "add some, or remove the folder"
            )
    return kept, faults


def agreed_splits(splits: Mapping[str, Split], world: World) -> dict[str, Split]:
    """The splits with the files that the leading process has kept, in every process."""
    kept = {name: [str(file) for file in split.files] for name, split in splits.items()}
    of_leader = json.loads(world.from_leader(json.dumps(kept).encode()))
    return {name: _only(split, set(of_leader.get(name, []))) for name, split in splits.items()}


def _only(split: Split, files: Container[str]) -> Split:
    pairs = [pair for pair in zip(split.files, split.labels, strict=True) if str(pair[0]) in files]
    return dataclasses.replace(
        split, files=tuple(file for file, _ in pairs), labels=tuple(label for _, label in pairs)
    )


def write_unreadable(path: Path, faults: list[str]) -> None:
    """Write a line for each file that is left out; without any, remove the file of an earlier run."""
    if faults:
        write_text(
            path, "".join(fault.encode("utf-8", "backslashreplace").decode() + "\n" for fault in faults)
        )
    else:
        path.unlink(missing_ok=True)
