"""The group of each image, which is a lesion or a patient, from a table or a manifest."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import quoted
from skinlesion_cli.data.images import has_image_suffix

# Published tables and our manifest first, then other usual names.
FILE_COLUMNS = ("image_id", "image", "file", "filename", "image_name", "path", "isic_id")
GROUP_COLUMNS = ("lesion_id", "patient_id", "group", "lesion", "patient", "group_id")


def read_groups(path: Path) -> dict[str, str]:
    """Read the group of each image from a CSV file.

    The file may be the published metadata of HAM10000 or ISIC 2019, a `manifest.csv`, or any table with one
    of `FILE_COLUMNS` and one of `GROUP_COLUMNS`. Rows without a group are skipped. The keys are
    `split/class/file` where the table is a manifest, and otherwise file names without folder and suffix.

    Raises:
        InputError: the file cannot be read, lacks the columns, or gives one image two groups.
    """
    names, rows = read_table(path, "the groups in ")
    columns = {name.strip().lower(): name for name in names} if rows else {}
    file_column, group_column = (
        next((columns[name] for name in known if name in columns), None)
        for known in (FILE_COLUMNS, GROUP_COLUMNS)
    )
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


def groups_of(groups: Mapping[str, str], files: Sequence[str]) -> list[str | None]:
    """The group of each image, from what `read_groups` returned; None where it has no group.

    Files are relative to the data set's folder, with `/`.
    """
    return [groups.get(file, groups.get(_stem(file))) for file in files]


def _stem(file: str) -> str:
    path = Path(file)
    # "lesion.1" is a name without a suffix.
    return path.stem if has_image_suffix(path) else path.name
