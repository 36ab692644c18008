"""The manifest: what is known of each image of a data set, in `manifest.csv` beside the split folders.

Columns `split,class,file,group,source`. A group is a lesion or a patient; images of one group belong on one
side.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from skinlesion_cli.core.files import write_csv

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class ManifestRow:
    """One image of a data set: it lies at `split/label/file` below the manifest's folder."""

    split: str
    label: str
    file: str
    group: str
    source: str


def write_manifest(folder: Path, rows: Sequence[ManifestRow]) -> Path:
    """Write `folder/manifest.csv`, whole or not at all, and return its path."""
    path = folder / MANIFEST
    header = ["class" if field.name == "label" else field.name for field in fields(ManifestRow)]
    write_csv(path, header, [astuple(row) for row in rows])
    return path
