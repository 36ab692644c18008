"""External tables about images: age, sex and site, or the true classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.text import nearest, quoted
from skinlesion_cli.curation.groups import NAME_COLUMNS, groups_of
from skinlesion_cli.data.table_rows import IMAGE_COLUMNS, MISSING, read_rows

ALIASES: Mapping[str, Sequence[str]] = {
    "age": ("age_approx",),
    "sex": ("gender",),
    "site": ("localization", "anatom_site_general", "region"),
    "tone": ("skin_tone", "fitzpatrick_skin_type", "fitzpatrick", "fitspatrick", "fitzpatrick_scale"),
}
"""The names of these columns in HAM10000, the ISIC archive, PAD-UFES-20, DDI and Fitzpatrick17k."""


@dataclass(frozen=True)
class _Table:
    path: Path
    columns: dict[str, str]
    """By their name in lower case."""
    images: list[str]
    """The name of the image in each row; `class/file` in a manifest."""
    rows: list[dict[str, str]]

    def column(self, name: str) -> str | None:
        """The column of that name, or of another name for the same."""
        names = (name.lower(), *ALIASES.get(name.lower(), ()))
        return next((self.columns[one] for one in names if one in self.columns), None)

    def joined(self, cells: Sequence[str], files: Sequence[str], what: str) -> list[str | None]:
        """The cell of each file; None if no row is for that file."""
        by_image: dict[str, str] = {}
        for image, cell in zip(self.images, cells, strict=True):
            if by_image.setdefault(image, cell) != cell:
                both = f"{quoted(by_image[image])} and {quoted(cell)}"
                raise InputError(
                    f"{self.path}: {quoted(image)} has two values of {what}, {both}; keep one row"
                )
        found = groups_of(by_image, files, what=what)
        if all(one is None for one in found):
            raise InputError(
                f"{self.path} has no row for any of the {len(files)} images: it names "
                f"{first_few(list(by_image))}, the images are {first_few(list(files))}"
            )
        return found


def joined_columns(
    names: Sequence[str], files: Sequence[str], split: str, tables: Sequence[Path]
) -> tuple[dict[str, list[str]], list[str]]:
    """Columns of tables for the images of a split: a text for each file, empty if unknown.

    Args:
        names: of the columns; see `ALIASES` for other names in published tables.
        files: `class/file`, or their names in the tables. Names are compared as by `groups_of`, with or
            without a suffix.
        split: of the files; rows of other splits in a manifest.csv are for other images.
        tables: CSV files with a column for the file (`NAME_COLUMNS`). The first that has a column is used.

    Returns:
        The columns, by the names that were asked for, and remarks on what could not be joined.

    Raises:
        InputError: no table has a column, one cannot be read, or it matches no image.
    """
    found = [_read(path, split) for path in tables]
    cells: dict[str, list[str]] = {}
    remarks: list[str] = []
    for name in names:
        table = next((one for one in found if one.column(name)), None)
        if table is None:
            raise InputError(_no_column(name, found))
        column = table.column(name)
        values = [_known(row[column or ""]) for row in table.rows]
        joined = table.joined(values, files, name)
        cells[name] = [one or "" for one in joined]
        without, empty = joined.count(None), joined.count("")
        told = [f"{without} of {len(files)} images have no row in {table.path.name}"] if without else []
        told += [f"{empty} have no value there"] if empty else []
        if told:
            remarks.append(f"--by {name}: {', '.join(told)}; they are the subgroup unknown")
    return cells, remarks


def truth_of(path: Path, images: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """The true class of each image in a table, None without a row; and remarks on what was not joined.

    The table has a column for the file and one for the class (`LABEL_COLUMNS`), or, as ISIC publishes it, one
    column per class with a 1 in that of the image. InputError if it has neither, a row has no class or
    several, or no image has a row.
    """
    rows = read_rows(path).rows
    for row in rows:
        if not row.label:
            raise InputError(f"{path}, line {row.line}: {quoted(row.file)} has no class")
    table = _Table(path, {}, [row.file for row in rows], [])
    labels = [row.label for row in rows]
    found = table.joined(labels, images, "the class")
    without = found.count(None)
    rest = len(set(table.images)) - (len(images) - without)
    told = [f"{without} of {len(images)} images have no row and are left out"] if without else []
    told += [f"{rest} of {len(set(table.images))} rows are of no image"] if rest > 0 else []
    return found, [f"{path}: {', '.join(told)}"] if told else []


def _read(path: Path, split: str | None) -> _Table:
    names, rows = read_table(path, "the metadata in ")
    columns = {name.strip().lower(): name for name in names if name} if rows else {}
    file = next((columns[name] for name in NAME_COLUMNS if name in columns), None)
    if file is None:
        raise InputError(f"{path} needs a column for the file: one of {', '.join(IMAGE_COLUMNS)}")
    folder: list[str] = []
    if {"split", "class"} <= columns.keys() and split is not None:
        rows = [row for row in rows if row[columns["split"]] == split]
        folder = [columns["class"]]
    images = ["/".join(row[name] for name in (*folder, file)) for row in rows]
    kept = [place for place, image in enumerate(images) if image]
    return _Table(path, columns, [images[one] for one in kept], [rows[one] for one in kept])


def _known(cell: str) -> str:
    return "" if cell.casefold() in MISSING else cell


def _no_column(name: str, tables: Sequence[_Table]) -> str:
    if not tables:
        return f"--by {name}: the data set has no manifest.csv; give a table of the images with --metadata"
    there = "; ".join(f"{one.path} has {', '.join(one.columns.values())}" for one in tables)
    near = nearest(name, [column for one in tables for column in one.columns])
    return f"--by {name}: there is no such column{near}; {there}"
