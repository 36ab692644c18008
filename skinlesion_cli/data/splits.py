"""Data sets as folders, `data/{train,val,test}/CLASS/…` with one folder per class, or as tables."""

import dataclasses
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.files import is_folder
from skinlesion_cli.data.file_hashes import name_of
from skinlesion_cli.data.folders import class_folders, list_classes, refuse_alike
from skinlesion_cli.data.suffixes import is_table_name

if TYPE_CHECKING:
    from skinlesion_cli.data.table import DataTable

Item = TypeVar("Item")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """The labelled images of one split, sorted by class, then by file name."""

    name: str
    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    """Relative to `root`."""
    labels: tuple[int, ...]
    """Index into `classes`, for each file."""
    left_out: int
    """Number of files without the suffix of an image, or of rows of a table that were left out."""
    table: Path | None = None
    """Of a data set that is a table, its file."""
    images: Path | None = None
    """Of a table, the folder that was given with --images."""

    @property
    def data_root(self) -> Path:
        """The data set: its folder or table."""
        return self.table or self.root.parent

    @property
    def where(self) -> str:
        """The split, for messages."""
        return f"the split {self.name} of {self.table}" if self.table else str(self.root)

    @property
    def names(self) -> list[str]:
        """A name for each image that also tells its class: `class/file`."""
        files = [name_of(file) for file in self.files]
        if self.table is None:
            return files
        return [f"{self.classes[label]}/{file}" for label, file in zip(self.labels, files, strict=True)]

    @property
    def counts(self) -> dict[str, int]:
        """Number of images per class, in the order of `classes`."""
        counts = Counter(self.labels)
        return {name: counts[label] for label, name in enumerate(self.classes)}

    @property
    def paths(self) -> list[Path]:
        """The files, including `root`."""
        return [self.root / file for file in self.files]


def read_split(
    data_root: Path,
    name: str,
    on_event: OnEvent = ignore,
    *,
    complete: bool = True,
    images_root: Path | None = None,
) -> Split:
    """List the images of one split; InputError without its folder, its classes or (`complete`) images.

    `data_root` may be a table; then its files are relative to `images_root`, by default to its own folder.
    """
    if table := _table(data_root, images_root, on_event):
        return table.split(name, on_event)
    root = data_root / name
    if not root.is_dir():
        fault = f"{data_root} has no {name}/ folder; each split is a folder with one folder per class"
        raise InputError(fault + _where_splits_are(data_root, name))
    classes = class_folders(root)
    if not classes:
        raise InputError(f"{root} has no class folders; each class is a folder of images")
    found = list_classes(root, classes, on_event, complete=complete)
    files = tuple(file for images, _ in found.values() for file in images)
    labels = tuple(label for label, (images, _) in enumerate(found.values()) for _ in images)
    if not files:
        raise InputError(f"{root} contains no images")
    return Split(name, root, tuple(classes), files, labels, sum(len(others) for _, others in found.values()))


def _table(data_root: Path, images_root: Path | None, on_event: OnEvent) -> "DataTable | None":
    """The table; None for a folder. InputError if there is neither."""
    if is_table(data_root):
        from skinlesion_cli.data.table import read_data_table

        return read_data_table(data_root, images_root, on_event)
    require_folder(data_root, images_root)
    return None


def is_table(data_root: Path) -> bool:
    """Whether a data set is a table; False also for an invalid name."""
    return os.path.isfile(data_root)  # noqa: PTH113 - `Path.is_file` raises for a name too long


def require_folder(data_root: Path, images_root: Path | None) -> None:
    """InputError if there is no such data set, or `images_root` is given with a folder."""
    if not is_folder(data_root):
        kind = "table" if is_table_name(data_root) else "folder"
        raise InputError(f"there is no {kind} {data_root}; give the data set, a folder or a table")
    if images_root is not None:
        raise InputError(f"--images {images_root} needs a table, and {data_root} is a folder")


def has_split(data_root: Path, name: str) -> bool:
    """Whether a data set has a split."""
    if not is_table(data_root):
        return is_folder(data_root / name)
    from skinlesion_cli.data.table_rows import read_rows

    return any(row.split == name for row in read_rows(data_root).rows)


def split_root(data_root: Path, name: str, images_root: Path | None = None) -> Path:
    """The folder that the names of a split's images are relative to."""
    return data_root / name if is_folder(data_root) else images_root or data_root.parent


def read_splits(
    data_root: Path,
    names: Sequence[str],
    optional: Sequence[str] = (),
    on_event: OnEvent = ignore,
    *,
    images_root: Path | None = None,
) -> dict[str, Split]:
    """List the images of several splits, which must have the same classes; `optional` ones may be missing."""
    if table := _table(data_root, images_root, on_event):
        present = [*names, *(name for name in optional if table.counts[name])]
        splits = {name: table.split(name, on_event) for name in present}
    else:
        present = [*names, *(name for name in optional if (data_root / name).is_dir())]
        splits = {name: read_split(data_root, name, on_event) for name in present}
    first = splits[names[0]]
    for split in splits.values():
        require_classes(split, first.classes, first.where)
    if fault := one_class_fault(first.root if first.table is None else first.table, first.classes):
        raise InputError(fault)
    return splits


def one_class_fault(root: Path, classes: Sequence[str]) -> str:
    """The fault of a data set with a single class; empty if there are more."""
    if len(classes) != 1:
        return ""
    inner = class_folders(root / classes[0]) if is_folder(root / classes[0]) else []
    hint = f"; move the folders in {root / classes[0]} ({first_few(inner)}) up one level" if inner else ""
    return f"{root} has only one class, {classes[0]!r}; at least two are needed{hint}"


def _where_splits_are(data_root: Path, name: str) -> str:
    folders = class_folders(data_root)
    if inner := [data_root / one for one in folders if (data_root / one / name).is_dir()]:
        return f"; {inner[0]} has one: use that folder"
    if len(folders) > 1 and not set(folders) & set(SPLITS):
        return f"; are these the classes? skinlesion data split {data_root} --out NEW_FOLDER"
    return ""


def require_classes(split: Split, classes: Sequence[str], owner: str, *, complete: bool = True) -> None:
    """Require that a split has the classes of `owner`, without `complete` only some of them."""
    refuse_alike({*split.classes, *classes}, f"{split.where} and {owner}: the classes")
    extra, missing = set(split.classes) - set(classes), set(classes) - set(split.classes)
    missing = missing if complete else set()
    faults = [f"only in {split.where}: {', '.join(sorted(extra))}"] if extra else []
    faults += [f"missing there: {', '.join(sorted(missing))}"] if missing else []
    if faults:
        raise InputError(
            f"{split.where} has {len(split.classes)} classes and {owner} has {len(classes)} "
            f"({'; '.join(faults)}); both need the same classes"
        )


def named_as(split: Split, classes: Sequence[str]) -> Split:
    """The split with the names of `classes` for those of its own that differ only in their Unicode form."""
    known = {unicodedata.normalize("NFC", name): name for name in classes}
    own = (known.get(unicodedata.normalize("NFC", name), name) for name in split.classes)
    return dataclasses.replace(split, classes=tuple(own))


def count_labels(images: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Number of images per class, per split, from the split and class of each image."""
    counts: dict[str, dict[str, int]] = {}
    for (split, label), number in Counter(images).items():
        counts.setdefault(split, {})[label] = number
    return counts


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of the items, evenly spaced."""
    if len(items) <= most:
        return list(items)
    last, steps = len(items) - 1, max(most - 1, 1)
    return [items[(2 * index * last + most - 1) // (2 * steps)] for index in range(most)]
