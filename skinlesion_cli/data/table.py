"""Tables of labelled images: one row per image, with its file, its label and what else is known of it.

Read as they are: tables with `file,label` and, where present, `split,group,source` and any other columns; the
manifest of a data set; and published tables, which name an image by its ID (`isic_id,diagnosis`) or have one
column of zeros and ones per class (`image,MEL,NV,…`).
"""

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from skinlesion_cli.common.csv_files import read_numbered, write_csv
from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.events import Note, OnEvent, Warned, ignore
from skinlesion_cli.common.files import NO_FILE, fault_of, leaves_folder
from skinlesion_cli.common.limits import MAX_CLASSES, MAX_IMAGE_BYTES, MAX_NAME
from skinlesion_cli.common.text import nearest, quoted, shortened
from skinlesion_cli.data.named_files import NamedFiles
from skinlesion_cli.data.splits import SPLITS, Split, refuse_alike

FILE_COLUMNS = ("file", "path", "filename")
ID_COLUMNS = ("image", "image_id", "image_name", "isic_id", "img_id")
"""ID columns of published tables, which may list more images than the user has, and some without a
diagnosis."""
LABEL_COLUMNS = ("label", "class", "diagnosis", "dx", "diagnostic", "y_true")
PATIENT_COLUMNS, LESION_COLUMNS = ("patient_id", "patient"), ("lesion_id", "lesion")
OWN_COLUMNS = ("file", "label", "split", "group", "source")
MISSING = {"", "na", "n/a", "n.a.", "<na>", "nan", "none", "null", "nil", "unknown", "-", "--", "?"}
"""IDs that mean "unknown", in lower case."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One image of a table; text that the table does not have is empty."""

    line: int
    file: str
    """As it is written; in a `DataTable` relative to `root`, with `/`."""
    label: str
    split: str
    group: str
    """The group, or else the patient, or else the lesion."""
    source: str
    others: Mapping[str, str]
    """The cells of the other columns, such as `sex`, by name."""


@dataclass(frozen=True)
class TableRows:
    """The rows of a table, before their files are looked for."""

    rows: list[TableRow]
    names: set[str]
    """Of all images, with and without their class: a group with such a name is not a lesion or patient."""
    columns: dict[str, str]
    """The table's own names of the columns, by name in lower case."""
    ids: bool
    """Whether it names images by their IDs."""
    taken: str
    """The columns of the files and labels, if their names differ from ours."""


def read_rows(path: Path) -> TableRows:
    """Read a table; InputError if it is damaged, or has no column for the files or none for the labels."""
    names, cells = read_numbered(path)
    columns = {name.lower(): name for name in reversed(names) if name}
    files = _first(columns, (*FILE_COLUMNS, *ID_COLUMNS))
    labels = _first(columns, LABEL_COLUMNS)
    one_hot = [] if labels or not files or not cells else _one_hot_columns(names, cells[0][1], files)
    if not files or not (labels or one_hot) or not cells:
        has = f"it has {shortened(', '.join(names)) or 'none'}"
        hint = "; separate its cells by commas" if len(names) == 1 and {";", "\t"} & set(names[0]) else ""
        raise InputError(f"{path} needs the columns file,label and at least one row; {has}{hint}")
    patient, lesion = _first(columns, PATIENT_COLUMNS), _first(columns, LESION_COLUMNS)
    own = {name: columns.get(name) for name in OWN_COLUMNS}
    used = {files, labels, own["split"], own["group"], own["source"], *one_hot}
    others = [name for name in names if name and name not in used]
    # A lesion whose patient is named in another row is that patient's.
    known = [(_id(row, lesion), _id(row, patient)) for _, row in cells] if patient and lesion else []
    patient_of = {of_lesion: whose for of_lesion, whose in known if of_lesion and whose}
    rows = []
    for line, row in cells:
        of_lesion = _id(row, lesion)
        group = _id(row, own["group"]) or _id(row, patient) or patient_of.get(of_lesion, of_lesion)
        label = row[labels] if labels else _one_hot_label(path, line, row, one_hot)
        split, source = (row[own[name] or ""] if own[name] else "" for name in ("split", "source"))
        rows.append(
            TableRow(line, row[files], label, split, group, source, {name: row[name] for name in others})
        )
    known_names = {row.file for row in rows} | {f"{row.label}/{row.file}" for row in rows}
    ours = files.lower() == "file" and labels.lower() in ("label", "class")
    taken = "" if ours else f"files from the column {files}, labels from {labels or first_few(one_hot)}"
    return TableRows(rows, known_names, columns, files.lower() in ID_COLUMNS, taken)


def _first(columns: Mapping[str, str], names: Iterable[str]) -> str:
    return next((columns[name] for name in names if name in columns), "")


def _id(row: Mapping[str, str], column: str | None) -> str:
    value = row[column] if column else ""
    return "" if value.casefold() in MISSING else value


def _one_hot_columns(names: Sequence[str], row: Mapping[str, str], files: str) -> list[str]:
    """The columns that hold 0 or 1 in the first row; not the weights of ISIC's test sets."""
    taken = {files.lower(), *OWN_COLUMNS, *PATIENT_COLUMNS, *LESION_COLUMNS}
    found = [name for name in names if name.lower() not in taken and not name.endswith("_weight")]
    found = [name for name in found if name and _bit(row[name]) is not None]
    return found if len(found) > 1 else []


def _bit(cell: str) -> bool | None:
    return {"0": False, "0.0": False, "1": True, "1.0": True}.get(cell)


def _one_hot_label(path: Path, line: int, row: Mapping[str, str], columns: Sequence[str]) -> str:
    bits = {name: _bit(row[name]) for name in columns}
    if odd := [name for name, bit in bits.items() if bit is None]:
        raise InputError(f"{path}, line {line}: {odd[0]} is {quoted(row[odd[0]])}; a class is 0 or 1")
    if len(ones := [name for name, bit in bits.items() if bit]) != 1:
        found = f"{len(ones)} are ({first_few(ones)})" if ones else "none is"
        raise InputError(f"{path}, line {line}: one of {first_few(columns)} must be 1; {found}")
    return ones[0]


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
