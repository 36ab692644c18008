"""The manifest of a data set: `manifest.csv` beside the split folders, with `split,class,file,group,source`.

A group is a lesion or a patient; the images of one group belong in one split.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table, write_csv
from skinlesion_cli.common.errors import InputError

MANIFEST = "manifest.csv"
_COLUMNS = ("split", "class", "file", "group", "source")


@dataclass(frozen=True)
class ManifestRow:
    """One image of a data set, at `split/label/file` in the manifest's folder."""

    split: str
    label: str
    file: str
    group: str
    source: str


@dataclass(frozen=True)
class Origins:
    """Where the images of a split come from, in their order."""

    groups: list[str] | None
    """Lesion or patient of each image; None unless known for all."""
    sources: list[str] | None
    """Data set of each image, empty where unknown; None where unknown for all."""


def origins_of(data_root: Path, split: str, files: Sequence[Path]) -> Origins:
    """Group and source of each image (`class/file`) of a split; none if the data set has no manifest."""
    path = data_root / MANIFEST
    if not path.is_file():
        return Origins(None, None)
    rows = _rows_by_image(path, split)
    return _origins([rows.get(file.as_posix(), {}) for file in files])


def origins_in(manifest: Path, split: str, images: Sequence[str]) -> Origins:
    """Group and source of each image, `class/file` or `split/class/file`; the manifest must list all."""
    rows = _rows_by_image(manifest, split)
    found = []
    for image in images:
        row = rows.get(image) or rows.get(image.removeprefix(f"{split}/"))
        if row is None:
            raise InputError(
                f"{manifest} has no image {image} in the split {split}; name another split with --split, "
                "or predictions whose images are called class/file"
            )
        found.append(row)
    return _origins(found)


def groups_in(manifest: Path, split: str, images: Sequence[str]) -> list[str]:
    """Group of each image, from a manifest that must have one for each; arguments as for `origins_in`."""
    groups = origins_in(manifest, split, images).groups
    if groups is None:
        fault = f"{manifest} has no group for some images of the split {split}"
        raise InputError(f"{fault}; fill in its group column")
    return groups


def write_manifest(folder: Path, rows: Sequence[ManifestRow]) -> Path:
    """Write `folder/manifest.csv`, and return its path."""
    path = folder / MANIFEST
    write_csv(path, _COLUMNS, [astuple(row) for row in rows])
    return path


def _rows_by_image(path: Path, split: str) -> dict[str, dict[str, str]]:
    columns, rows = read_table(path)
    if not set(_COLUMNS[:4]) <= set(columns):
        raise InputError(f"{path} needs the columns {','.join(_COLUMNS[:4])}")
    return {f"{row['class']}/{row['file']}": row for row in rows if row["split"] == split}


def _origins(rows: Sequence[dict[str, str]]) -> Origins:
    groups = [row.get("group", "") for row in rows]
    sources = [row.get("source", "") for row in rows]
    return Origins(groups if all(groups) else None, sources if any(sources) else None)
