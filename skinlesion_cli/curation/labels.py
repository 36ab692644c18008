"""Labelled photographs that are not split yet: one folder per class, or a CSV file with `file,label`."""

import os
import unicodedata
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.files import NO_FILE, fault_of, leaves_folder
from skinlesion_cli.common.limits import MAX_IMAGE_BYTES, MAX_NAME
from skinlesion_cli.common.text import quoted
from skinlesion_cli.data.splits import SPLITS, class_folders, list_classes, one_class_fault, refuse_alike

Labelled = list[tuple[Path, str]]


def read_labels(source: Path, on_event: OnEvent = ignore) -> Labelled:
    """List the photographs of a folder with one folder per class, or of a CSV file, with their labels.

    The CSV file has the columns `file` and `label`; the files are relative to its folder, and below it.
    InputError if `source` does not exist, has fewer than two classes, is split already, a row is invalid, a
    file has two labels, or two labels differ only in case or Unicode form.
    """
    if source.is_file():
        return _read_csv(source)
    if not source.is_dir():
        raise InputError(f"there is no folder or file {source}")
    classes = class_folders(source)
    if split := sorted(set(classes) & set(SPLITS)):
        raise InputError(f"{source} is split already ({', '.join(split)})")
    if not classes:
        raise InputError(f"{source} has no class folders; each class is a folder of images")
    if fault := one_class_fault(source, classes):
        raise InputError(fault)
    found = list_classes(source, classes, on_event)
    return [(source / file, label) for label, (files, _) in found.items() for file in files]


def _on_disk(folder: Path, name: str) -> Path:
    """The file of that name, in whichever Unicode form it exists."""
    forms = (folder / name, *(folder / unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
    return next((file for file in forms if os.path.exists(file)), forms[0])  # noqa: PTH110 - any name is valid


def _read_csv(path: Path) -> Labelled:
    columns, rows = read_table(path)
    if not rows or not {"file", "label"} <= set(columns):
        raise InputError(f"{path} needs the columns file,label and at least one row")
    found: Labelled = []
    first: dict[Path, tuple[int, str]] = {}
    for number, row in enumerate(rows, start=1):
        where, label = f"{path}, row {number}: {quoted(row['file'])}", row["label"]
        # A table from elsewhere must not reach files outside its folder.
        if leaves_folder(row["file"]):
            raise InputError(f"{where} is outside the table's folder")
        file = _on_disk(path.parent, row["file"])
        if fault := fault_of(file, MAX_IMAGE_BYTES):
            raise InputError(f"{where} {'is no file' if fault == NO_FILE else f'cannot be read: {fault}'}")
        if not label:
            raise InputError(f"{where} has no label")
        if Path(label).name != label or label.startswith(".") or len(os.fsencode(label)) > MAX_NAME:
            raise InputError(f"{path}, row {number}: {quoted(label)} cannot be the name of a class folder")
        # A file can be written in several ways: a.jpg, ./a.jpg, a link.
        earlier, other = first.setdefault(file.resolve(), (number, label))
        if other != label:
            both = f"{quoted(label)}, but in row {earlier} {quoted(other)}"
            raise InputError(f"{where} is {both}; keep one label")
        found.append((file, label))
    labels = {label for _, label in found}
    if len(labels) == 1:
        raise InputError(f"{path} has one label only, {quoted(labels.pop())}; at least two are needed")
    refuse_alike(labels, f"{path}: the labels")
    return found
