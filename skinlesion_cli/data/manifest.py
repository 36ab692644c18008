"""The manifest: what is known of each image of a data set, in `manifest.csv` beside the split folders.

Columns `split,class,file,group,source`. A group is a lesion or a patient; images of one group belong on one
side.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table, write_csv
from skinlesion_cli.common.errors import InputError

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class ManifestRow:
    """One image of a data set: it lies at `split/label/file` below the manifest's folder."""

    split: str
    label: str
    file: str
    group: str
    source: str


@dataclass(frozen=True)
class Origins:
    """Where the images of a split come from, in their order."""

    groups: list[str] | None
    """Lesion or patient of each image; None unless it is known of all."""
    sources: list[str] | None
    """Data set of each image, an empty text where it is not known; None where it is known of none."""


def origins_of(data_root: Path, split: str, files: Sequence[Path]) -> Origins:
    """Group and source of each image of a split, by the manifest of the data set.

    Args:
        data_root: the data set's folder.
        split: name of the split.
        files: relative to the split's folder: `class/file`.

    Raises:
        InputError: the manifest cannot be read.
    """
    path = data_root / MANIFEST
    if not path.is_file():
        return Origins(None, None)
    rows = _rows_by_image(path, split)
    return _origins([rows.get(file.as_posix(), {}) for file in files])


def origins_in(manifest: Path, split: str, images: Sequence[str]) -> Origins:
    """Group and source of each image of a predictions file, by a manifest that must name all of them.

    Args:
        manifest: the file.
        split: the split whose images are meant.
        images: `class/file` each, as `evaluate` writes them, or `split/class/file`.

    Raises:
        InputError: the manifest cannot be read, or an image is not in it.
    """
    rows = _rows_by_image(manifest, split)
    found = [rows.get(image) or rows.get(image.removeprefix(f"{split}/")) for image in images]
    for image, row in zip(images, found, strict=True):
        if row is None:
            raise InputError(
                f"{manifest} has no image {image} in the split {split}; name another split with --split, "
                "or predictions whose images are called class/file"
            )
    return _origins([row for row in found if row is not None])


def groups_in(manifest: Path, split: str, images: Sequence[str]) -> list[str]:
    """Group of each image, by a manifest that must give one for all of them.

    Its arguments are those of `origins_in`.

    Raises:
        InputError: the manifest cannot be read, or it gives no group for an image.
    """
    groups = origins_in(manifest, split, images).groups
    if groups is None:
        raise InputError(
            f"{manifest} gives no group for some images of the split {split}; fill in its group column"
        )
    return groups


def _rows_by_image(path: Path, split: str) -> dict[str, dict[str, str]]:
    columns, rows = read_table(path)
    if not {"split", "class", "file", "group"} <= set(columns):
        raise InputError(f"{path} needs the columns split,class,file,group")
    return {f"{row['class']}/{row['file']}": row for row in rows if row["split"] == split}


def _origins(rows: Sequence[dict[str, str]]) -> Origins:
    groups = [row.get("group", "") for row in rows]
    sources = [row.get("source", "") for row in rows]
    return Origins(groups if all(groups) else None, sources if any(sources) else None)


def write_manifest(folder: Path, rows: Sequence[ManifestRow]) -> Path:
    """Write `folder/manifest.csv`, whole or not at all, and return its path."""
    path = folder / MANIFEST
    header = ["class" if field.name == "label" else field.name for field in fields(ManifestRow)]
    write_csv(path, header, [astuple(row) for row in rows])
    return path
