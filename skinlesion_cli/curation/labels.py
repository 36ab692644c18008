"""Labelled photographs that are not split yet: one folder per class, or a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.data.folders import class_folders, list_classes
from skinlesion_cli.data.splits import SPLITS, is_table, one_class_fault, require_folder
from skinlesion_cli.data.table import read_data_table
from skinlesion_cli.data.table_rows import TableRow


@dataclass(frozen=True)
class Labelled:
    """Photographs with their labels."""

    root: Path
    """The folder that the files are relative to."""
    rows: tuple[TableRow, ...]
    groups: Mapping[str, str]
    """Lesion or patient of each file, if a table gives it."""

    @property
    def files(self) -> list[str]:
        """The files, relative to `root`."""
        return [row.file for row in self.rows]

    @property
    def paths(self) -> list[Path]:
        """The files, including `root`."""
        return [self.root / file for file in self.files]


def read_labels(source: Path, on_event: OnEvent = ignore, *, images_root: Path | None = None) -> Labelled:
    """List the photographs of a folder with one folder per class, or of a table (see `read_data_table`).

    InputError if `source` does not exist, has fewer than two classes, is already split, or a row is invalid.
    """
    if is_table(source):
        table = read_data_table(source, images_root, on_event)
        if table.has_splits:
            raise InputError(f"{source} is already split: it has a column split")
        if fault := one_class_fault(source, sorted({row.label for row in table.rows})):
            raise InputError(fault)
        return Labelled(table.root, table.rows, table.groups)
    require_folder(source, images_root)
    classes = class_folders(source)
    if split := sorted(set(classes) & set(SPLITS)):
        raise InputError(f"{source} is already split ({', '.join(split)})")
    if not classes:
        raise InputError(f"{source} has no class folders; each class is a folder of images")
    if fault := one_class_fault(source, classes):
        raise InputError(fault)
    rows = [
        TableRow(0, file.as_posix(), label, "", "", source.name, {})
        for label, (files, _) in list_classes(source, classes, on_event).items()
        for file in files
    ]
    return Labelled(source, tuple(rows), {})
