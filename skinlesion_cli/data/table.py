"""Data sets that are tables: the rows of a table, whose images are found on the disk."""

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from skinlesion_cli.common.csv_files import write_csv
from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.events import Note, OnEvent, Warned, ignore
from skinlesion_cli.common.files import NO_FILE, fault_of, leaves_folder
from skinlesion_cli.common.limits import MAX_CLASSES, MAX_IMAGE_BYTES, MAX_NAME
from skinlesion_cli.common.text import nearest, quoted
from skinlesion_cli.data.folders import refuse_alike
from skinlesion_cli.data.named_files import NamedFiles
from skinlesion_cli.data.splits import SPLITS, Split
from skinlesion_cli.data.table_rows import OWN_COLUMNS, TableRow, read_rows


@dataclass(frozen=True)
class DataTable:
    """A table whose images were found."""

    path: Path
    images_root: Path | None
    """As it was given with --images."""
    rows: tuple[TableRow, ...]
    groups: dict[str, str]
    """Lesion or patient of each file where it is known."""
    has_splits: bool
    left_out: int
    """Number of rows without an image, a label or a split."""

    @property
    def root(self) -> Path:
        """The folder that the files are relative to."""
        return root_of(self.path, self.images_root)

    @property
    def paths(self) -> list[Path]:
        """The files of all rows."""
        return [self.root / row.file for row in self.rows]

    @cached_property
    def counts(self) -> Counter[str]:
        """Number of images per split."""
        return Counter(row.split for row in self.rows)

    def split(self, name: str, on_event: OnEvent = ignore) -> Split:
        """The images of a split, in the order of the same data set as folders.

        A table without splits is an external test set. InputError if there is no such split.
        """
        if not self.has_splits:
            if name != "test":
                there = f" --images {self.images_root}" if self.images_root else ""
                line = f"skinlesion data split {self.path}{there} --out splits.csv"
                raise InputError(f"{self.path} has no column split; make one with: {line}")
            on_event(Note(f"{self.path} has no column split: all {len(self.rows)} images are scored"))
        elif not self.counts[name]:
            has = ", ".join(f"{split} ({number})" for split, number in sorted(self.counts.items()))
            raise InputError(f"{self.path} has no images of the split {quoted(name)}; it has {has}")
        rows = [row for row in self.rows if row.split == name or not self.has_splits]
        rows.sort(key=lambda row: (row.label, _as_listed(Path(row.file))))
        classes = tuple(sorted({row.label for row in rows}))
        number = {label: index for index, label in enumerate(classes)}
        files, labels = tuple(Path(row.file) for row in rows), tuple(number[row.label] for row in rows)
        return Split(
            name, self.root, classes, files, labels, self.left_out, table=self.path, images=self.images_root
        )


def _as_listed(file: Path) -> list[tuple[bool, str]]:
    """The key by which `list_files` sorts: the files of a folder before those of the folders in it."""
    return [*((True, part) for part in file.parts[:-1]), (False, file.name)]


def root_of(table: Path, images_root: Path | None) -> Path:
    """The folder that the files of a table are relative to."""
    return table.parent if images_root is None else images_root


def read_data_table(path: Path, images_root: Path | None = None, on_event: OnEvent = ignore) -> DataTable:
    """Read a table and find its images, in its own folder or in `images_root`.

    A file may be named without its suffix. Of a table of ids, rows without an image or a label are left out,
    and an image may be in any folder below; of other tables, they are errors. Rows with an empty split are
    left out. Events say how many.

    Raises:
        InputError: a mistake in the table, with its line: a missing file, one outside the folder or named
            twice, no label or an invalid one, an unknown split. Or none of the images is there.
    """
    read, root = read_rows(path), root_of(path, images_root)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; give the folder of the images with --images")
    if read.taken:
        on_event(Note(f"{path}: {read.taken}"))
    has_splits = "split" in read.columns
    images = NamedFiles(root)
    seen: dict[tuple[int, int], list[tuple[Path, int]]] = defaultdict(list)
    left_out: dict[str, list[str]] = defaultdict(list)
    rows = []
    for row in read.rows:
        where = f"{path}, line {row.line}: {quoted(row.file)}"
        _require_valid(row, path, where)
        file = _file_of(row, images, where, ids=read.ids)
        reason = "an image" if file is None else "" if row.label else "a label"
        reason = reason or ("a split" if has_splits and not row.split else "")
        if file is None or reason:
            if file is not None and not read.ids and not row.label:
                raise InputError(f"{where} has no label")
            left_out[reason].append(f"line {row.line}: {quoted(row.file)}")
            continue
        _refuse_again(root / file, row.line, seen, where)
        rows.append(dataclasses.replace(row, file=file.as_posix()))
    for reason, lines in left_out.items():
        text = f"{path}: {len(lines)} of {len(read.rows)} rows are left out, without {reason}"
        if reason == "an image" and not rows:
            hint = "give the folder of the images with --images"
            raise InputError(f"{path}: none of its images is in {root} ({lines[0]}); {hint}")
        on_event(Warned(f"{text} ({first_few(lines, 1)})"))
    if not rows:
        raise InputError(f"{path}: no row is left")
    labels = {row.label for row in rows}
    refuse_alike(labels, f"{path}: the labels")
    if len(labels) > MAX_CLASSES:
        raise InputError(f"{path} has {len(labels):,} different labels; at most {MAX_CLASSES:,} are read")
    times = Counter(row.group for row in rows)
    own = read.names | {stem for stem in (Path(row.file).stem for row in rows) if times[stem] == 1}
    groups = {row.file: row.group for row in rows if row.group and row.group not in own}
    return DataTable(path, images_root, tuple(rows), groups, has_splits, len(read.rows) - len(rows))


def _require_valid(row: TableRow, path: Path, where: str) -> None:
    if not row.file:
        raise InputError(f"{path}, line {row.line}: the file is missing")
    if row.split and row.split not in SPLITS:
        known = f"it must be {', '.join(SPLITS)}, or empty to leave the image out"
        raise InputError(f"{where} has the split {quoted(row.split)}{nearest(row.split, SPLITS)}; {known}")
    try:
        size = len(os.fsencode(row.label))
    except UnicodeEncodeError:
        size = MAX_NAME + 1
    if row.label and (Path(row.label).name != row.label or row.label.startswith(".") or size > MAX_NAME):
        raise InputError(f"{path}, line {row.line}: {quoted(row.label)} cannot be the name of a class folder")


def _file_of(row: TableRow, images: NamedFiles, where: str, *, ids: bool) -> Path | None:
    """The file of a row; None if a table of `ids` names one that does not exist."""
    # An untrusted table must not reach files outside its folder.
    if leaves_folder(row.file):
        raise InputError(f"{where} is outside {images.root}, the table's folder or that of --images")
    found = images.find(row.file, below=ids)
    if not found and row.split and row.label:
        # A manifest names the files of SPLIT/CLASS/.
        found = images.find(f"{row.split}/{row.label}/{row.file}", below=False)
    if len(found) > 1:
        raise InputError(f"{where} may be {first_few([file.as_posix() for file in found])} in {images.root}")
    if found or ids:
        return found[0] if found else None
    fault = fault_of(images.root / row.file, MAX_IMAGE_BYTES)
    if fault == NO_FILE:
        raise InputError(f"{where} is not a file in {images.root}; choose another folder with --images")
    raise InputError(f"{where} cannot be read: {fault}")


def _refuse_again(
    path: Path, line: int, seen: dict[tuple[int, int], list[tuple[Path, int]]], where: str
) -> None:
    """Refuse a file that an earlier row names, even in another way: a.jpg, ./a.jpg, a link to it."""
    status = path.stat()
    same = seen[status.st_dev, status.st_ino]
    # Hard links are two files.
    if again := [before for other, before in same if other.resolve() == path.resolve()]:
        raise InputError(f"{where} is also the file of line {again[0]}; keep one of the rows")
    same.append((path, line))


def write_data_table(path: Path, rows: Sequence[TableRow]) -> None:
    """Write a table that `read_data_table` reads, with the other columns of the rows after the usual ones."""
    others = list(dict.fromkeys(name for row in rows for name in row.others if name not in OWN_COLUMNS))
    cells = [
        (
            row.file,
            row.label,
            row.split,
            row.group,
            row.source,
            *(row.others.get(name, "") for name in others),
        )
        for row in rows
    ]
    write_csv(path, (*OWN_COLUMNS, *others), cells)
