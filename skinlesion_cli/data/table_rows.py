"""Tables of labelled images: one row per image, with its file, its label and what else is known of it.

Read as they are: tables with `file,label` and, where present, `split,group,source` and any other columns; the
manifest of a data set; and published tables, which name an image by its ID (`isic_id,diagnosis`) or have one
column of zeros and ones per class (`image,MEL,NV,…`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.csv_files import read_numbered
from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.text import quoted, shortened

FILE_COLUMNS = ("file", "path", "filename")
ID_COLUMNS = ("image", "image_id", "image_name", "isic_id", "img_id")
"""ID columns of published tables, which may list more images than the user has, and some without a
diagnosis."""
IMAGE_COLUMNS = (*FILE_COLUMNS, *ID_COLUMNS)
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
    files = _first(columns, IMAGE_COLUMNS)
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
