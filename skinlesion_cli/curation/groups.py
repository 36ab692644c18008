"""Lesions and patients: which images belong together, from a table or from the manifest."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import quoted
from skinlesion_cli.data.images import has_image_suffix

# Published tables and our own manifest first, then what people call these columns.
FILE_COLUMNS = ("image_id", "image", "file", "filename", "image_name", "path", "isic_id")
GROUP_COLUMNS = ("lesion_id", "patient_id", "group", "lesion", "patient", "group_id")


def read_groups(path: Path) -> dict[str, str]:
    """Read the group of each image from a CSV file.

    The table may be HAM10000's or ISIC 2019's metadata as they are published, a `manifest.csv`, or any CSV
    with a column for the file and one for the group, under one of their usual names. Rows without a group are
    left out.

    Returns:
        Group of each image; `group_of` looks it up. Images are named by their path where the table is a
        manifest, which knows it, and else by the file's name without folder and suffix.

    Raises:
        InputError: no such file, no such columns, or one image in two groups.
    """
    names, rows = read_table(path, "the groups in ")
    columns = {name.strip().lower(): name for name in names} if rows else {}
    file_column = _first(FILE_COLUMNS, columns)
    group_column = _first(GROUP_COLUMNS, columns)
    if file_column is None or group_column is None:
        raise InputError(
            f"{path} needs a column for the file ({', '.join(FILE_COLUMNS[:4])}) and one for the group "
            f"({', '.join(GROUP_COLUMNS[:3])})"
        )
    is_manifest = {"split", "class"} <= columns.keys()
    groups: dict[str, str] = {}
    for row in rows:
        name, group = Path(row[file_column]).name, row[group_column]
        key = f"{row[columns['split']]}/{row[columns['class']]}/{name}" if is_manifest else _stem(name)
        if name and group and groups.setdefault(key, group) != group:
            both = f"{quoted(groups[key])} and {quoted(group)}"
            raise InputError(f"{path}: {quoted(name)} is in the groups {both}")
    return groups


def group_of(groups: Mapping[str, str], file: str) -> str | None:
    """The group of an image in what `read_groups` gave; None where it has none.

    Args:
        groups: as `read_groups` gives them.
        file: the image's path relative to the data set's folder, with `/`.
    """
    return groups.get(file, groups.get(_stem(file)))


def _stem(file: str) -> str:
    path = Path(file)
    # "lesion.1" is a name without a suffix.
    return path.stem if has_image_suffix(path) else path.name


def _first(names: Iterable[str], columns: dict[str, str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)
