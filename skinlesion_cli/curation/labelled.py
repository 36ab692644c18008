"""Labelled photographs that are not split yet: one folder a class, or a CSV file of file,label."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import NO_FILE, fault_of, leaves_folder
from skinlesion_cli.common.limits import MAX_IMAGE_BYTES, MAX_NAME
from skinlesion_cli.common.text import quoted
from skinlesion_cli.curation.duplicates import Pair
from skinlesion_cli.curation.families import DisjointSets
from skinlesion_cli.curation.groups import group_of
from skinlesion_cli.curation.sources import Photo
from skinlesion_cli.data.splits import SPLITS, class_folders, find_images

Labelled = list[tuple[Path, str]]


def read_labelled(source: Path) -> Labelled:
    """List photographs with their labels.

    Args:
        source: a folder with one folder a class, or a CSV file with the columns file and label, whose files
            are relative to its own folder and lie below it.

    Raises:
        InputError: nothing there, or a data set that is split already.
    """
    if source.is_file():
        return _read_csv(source)
    if not source.is_dir():
        raise InputError(f"there is no folder or file {source}")
    classes = class_folders(source)
    if set(classes) & set(SPLITS):
        raise InputError(f"{source} is split already ({', '.join(sorted(set(classes) & set(SPLITS)))})")
    if not classes:
        raise InputError(f"{source} has no class folders; each class is a folder of images")
    return [(path, label) for label in classes for path in find_images([str(source / label)])]


def with_groups(
    labelled: Labelled, pairs: Sequence[Pair], groups: Mapping[str, str], source: str
) -> list[Photo]:
    """Give each photograph a group: its lesion or patient, joined with those whose photographs are copies.

    Args:
        labelled: the photographs.
        pairs: which of them show one photograph.
        groups: as `read_groups` gives them; a photograph that is not in them starts on its own.
        source: name of the collection, for the manifest.
    """
    names = [group_of(groups, path.name) or f"{label}/{path.name}" for path, label in labelled]
    distinct = list(dict.fromkeys(names))
    number = {name: position for position, name in enumerate(distinct)}
    sets = DisjointSets(len(distinct))
    for pair in pairs:
        sets.join(number[names[pair.a]], number[names[pair.b]])
    return [
        Photo(path, label, distinct[sets.root(number[name])], source)
        for (path, label), name in zip(labelled, names, strict=True)
    ]


def _read_csv(path: Path) -> Labelled:
    columns, rows = read_table(path)
    if not rows or not {"file", "label"} <= set(columns):
        raise InputError(f"{path} needs the columns file,label and at least one row")
    found = []
    for number, row in enumerate(rows, start=1):
        where, file, label = f"{path}, row {number}", row["file"], row["label"]
        # A table from elsewhere must not reach for the rest of the disk.
        if leaves_folder(file):
            raise InputError(f"{where}: {quoted(file)} leaves the table's own folder")
        if fault := fault_of(path.parent / file, MAX_IMAGE_BYTES):
            what = "is no file" if fault == NO_FILE else f"cannot be read: {fault}"
            raise InputError(f"{where}: {quoted(file)} {what}")
        if not label:
            raise InputError(f"{where}: {quoted(file)} has no label")
        if Path(label).name != label or label.startswith(".") or len(os.fsencode(label)) > MAX_NAME:
            raise InputError(f"{where}: {quoted(label)} cannot be the name of a class folder")
        found.append((path.parent / file, label))
    return found
