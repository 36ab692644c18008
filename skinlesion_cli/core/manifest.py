"""The manifest: what is known of each image of a data set, in `manifest.csv` beside the split folders.

Columns `split,class,file,group,source`. A group is a lesion or a patient; images of one group belong on one
side.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from skinlesion_cli.core.errors import InputError, first_few
from skinlesion_cli.core.files import read_table, write_csv

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class ManifestRow:
    """One image of a data set: it lies at `split/label/file` below the manifest's folder."""

    split: str
    label: str
    file: str
    group: str
    source: str


def groups_of(data_root: Path, split: str, files: Sequence[Path]) -> list[str] | None:
    """Group of each image of a split, by the manifest; None where there is none, or an image is not in it.

    Args:
        data_root: the data set's folder.
        split: name of the split.
        files: relative to the split's folder: `class/file`.

    Raises:
        InputError: the manifest cannot be read.
    """
    path = data_root / MANIFEST
    if not path.is_file():
        return None
    known = _known_groups(path, split)
    found = [known.get(file.as_posix(), "") for file in files]
    return found if all(found) else None


def read_image_groups(path: Path, split: str, images: Sequence[str]) -> list[str]:
    """Group of each image of a split, by the manifest that the user names: every image has to be in it.

    Args:
        path: the manifest.
        split: name of the split.
        images: `class/file`.

    Raises:
        InputError: the manifest cannot be read, or it gives no group for an image.
    """
    known = _known_groups(path, split)
    missing = [image for image in images if not known.get(image)]
    if missing:
        raise InputError(
            f"{path} gives no group for {first_few(missing)} in the split {split}; "
            "there, images are named class/file"
        )
    return [known[image] for image in images]


def _known_groups(path: Path, split: str) -> dict[str, str]:
    columns, rows = read_table(path)
    if not {"split", "class", "file", "group"} <= set(columns):
        raise InputError(f"{path} needs the columns split,class,file,group")
    return {f"{row['class']}/{row['file']}": row["group"] for row in rows if row["split"] == split}


def write_manifest(folder: Path, rows: Sequence[ManifestRow]) -> Path:
    """Write `folder/manifest.csv`, whole or not at all, and return its path."""
    path = folder / MANIFEST
    header = ["class" if field.name == "label" else field.name for field in fields(ManifestRow)]
    write_csv(path, header, [astuple(row) for row in rows])
    return path
