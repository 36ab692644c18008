"""The manifest of a data set: `manifest.csv` beside the split folders, with `split,class,file,group,source`.

A group is a lesion or a patient; the images of one group belong in one split. Where neither is known, the
group is the image's own `class/file`, or that of the image that it is a copy of. Where the data set is a
table, the table itself says this.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from skinlesion_cli.common.csv_files import write_csv
from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.events import OnEvent, Warned, ignore
from skinlesion_cli.common.text import folded
from skinlesion_cli.data.splits import is_table
from skinlesion_cli.data.table_rows import TableRow, read_rows

if TYPE_CHECKING:
    from skinlesion_cli.data.splits import Split

MANIFEST = "manifest.csv"
EFFECT = "the intervals treat all its images as independent"
_COLUMNS = ("split", "class", "file", "group", "source")
_FIELDS = ("split", "label", "file", "group", "source")


@dataclass(frozen=True)
class ManifestRow:
    """One image of a data set, at `split/label/file` in the manifest's folder."""

    split: str
    label: str
    file: str
    group: str
    source: str
    others: Mapping[str, str] = field(default_factory=dict)
    """The cells of further columns, such as `sex`, by name."""


@dataclass(frozen=True)
class Origins:
    """Where the images of a split come from, in their order."""

    groups: list[str] | None
    """Lesion or patient of each image; None unless known for all, or if every group is an image's own."""
    sources: list[str] | None
    """Data set of each image, empty where unknown; None where unknown for all."""


def manifest_of(data_root: Path) -> Path | None:
    """The file that says where the images of a data set come from: its table or its manifest."""
    path = data_root if is_table(data_root) else data_root / MANIFEST
    return path if is_table(path) else None


def origins_of(data_root: Path, split: str, files: Sequence[Path]) -> Origins:
    """Group and source of each image of a split (see `Split.files`); none if the data set has no manifest."""
    path = manifest_of(data_root)
    if path is None:
        return Origins(None, None)
    rows = _Rows(path, split, own=path == data_root)
    return _origins([rows.find(file.as_posix()) for file in files], rows.names)


def other_columns(data_root: Path, split: str, files: Sequence[Path]) -> dict[str, list[str]]:
    """The other columns of the table or manifest by name, such as `sex`: the cell of each image of a split.

    A cell is empty where the table has none; no columns if the data set has no table and no manifest.
    """
    path = manifest_of(data_root)
    if path is None:
        return {}
    rows = _Rows(path, split, own=path == data_root)
    found = [rows.find(file.as_posix()) for file in files]
    names = dict.fromkeys(name for row in rows for name in row.others)
    return {name: ["" if row is None else row.others.get(name, "") for row in found] for name in names}


def check_manifest(data_root: Path, splits: "Iterable[Split]", on_event: OnEvent) -> None:
    """Read the manifest before any work: InputError if it is damaged, warnings where images have no group."""
    path = manifest_of(data_root)
    if path is None:
        return
    for split in splits:
        rows = _Rows(path, split.name, own=path == data_root)
        if text := _mismatch(rows, split) if rows.has_groups else _copies(rows):
            on_event(Warned(f"{path}, split {split.name}: {text}; {EFFECT}"))


def _mismatch(rows: "_Rows", split: "Split") -> str:
    """How many images have no row or no group; empty where all have a group."""
    found = {file.as_posix(): rows.find(file.as_posix()) for file in split.files}
    unlisted = [image for image, row in found.items() if row is None]
    without = [image for image, row in found.items() if row is not None and not row.group]
    parts = []
    if unlisted:
        parts = [f"{len(unlisted)} of {len(found)} images are not listed ({first_few(unlisted)})"]
        if (lost := len(rows) - (len(found) - len(unlisted))) > 0:
            parts.append(f"{lost} of the {len(rows)} listed are not there")
    if without:
        parts.append(f"{len(without)} of {len(found)} images have no group ({first_few(without)})")
    return ", ".join(parts)


def _copies(rows: "_Rows") -> str:
    """How many images are copies of others, if lesions and patients are unknown."""
    groups = [row.group for row in rows if row.group]
    copies = len(groups) - len(set(groups))
    return f"{copies} of {len(rows)} images are copies of others" if copies else ""


def origins_in(manifest: Path, split: str, images: Sequence[str], on_event: OnEvent = ignore) -> Origins:
    """Group and source of each image, `class/file` or `split/class/file`; the manifest must list all."""
    found, rows = _listed(manifest, split, images)
    without = [image for image, row in zip(images, found, strict=True) if not row.group]
    if without and rows.has_groups:
        text = f"{len(without)} of {len(found)} images have no group ({first_few(without)})"
        on_event(Warned(f"{manifest}, split {split}: {text}; {EFFECT}"))
    return _origins(found, rows.names)


def groups_in(manifest: Path, split: str, images: Sequence[str]) -> list[str] | None:
    """As `origins_in`: the group of each image, which all must have; None if every group is an image's."""
    found, rows = _listed(manifest, split, images)
    if not all(row.group for row in found):
        fault = f"{manifest} has no group for some images of the split {split}"
        raise InputError(f"{fault}; fill in its group column")
    return _origins(found, rows.names).groups


def _listed(manifest: Path, split: str, images: Sequence[str]) -> tuple[list[TableRow], "_Rows"]:
    """The row of each image, and all rows of the split."""
    rows = _Rows(manifest, split)
    found = []
    for image in images:
        row = rows.find(image)
        if row is None:
            raise InputError(
                f"{manifest} has no image {image} in the split {split}; choose another split with --split, "
                "or predictions whose images are called as there (class/file, of a manifest)"
            )
        found.append(row)
    return found, rows


def write_manifest(folder: Path, rows: Sequence[ManifestRow]) -> Path:
    """Write `folder/manifest.csv`, and return its path."""
    path = folder / MANIFEST
    others = sorted({name for row in rows for name in row.others})
    cells = (
        (*(getattr(row, name) for name in _FIELDS), *(row.others.get(name, "") for name in others))
        for row in rows
    )
    write_csv(path, [*_COLUMNS, *others], cells)
    return path


class _Rows:
    """The rows of one split of a manifest or a table, by their image."""

    def __init__(self, path: Path, split: str, *, own: bool = False):
        """`own` tells that the table is the data set itself, so that it names the files of images."""
        read = read_rows(path)
        if not own and not set(_COLUMNS) - {"class", "source"} <= read.columns.keys():
            raise InputError(f"{path} needs the columns {','.join(_COLUMNS[:4])}")
        # The files of a manifest are in SPLIT/CLASS/, and several classes may have a file of the same name.
        by_class = "class" in read.columns and "split" in read.columns
        ours = [row for row in read.rows if row.split == split or "split" not in read.columns]
        self._rows = {f"{row.label}/{row.file}": row for row in ours} if by_class else {}
        if own or not by_class:
            self._rows = {_posix(row.file): row for row in ours} | self._rows
        self._ids, self._prefix = read.ids, f"{split}/" if by_class else ""
        # A copy from another system may have its names in another Unicode form or case.
        self._folded = {folded(image): row for image, row in self._rows.items()}
        self._number = len(ours)
        self.names = read.names
        """Of the images of all splits."""
        self.has_groups = not self.names.issuperset(row.group for row in read.rows if row.group)

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[TableRow]:
        return iter({id(row): row for row in self._rows.values()}.values())

    def find(self, image: str) -> TableRow | None:
        """The row of an image, as `Split.files` or a manifest (`class/file`, `split/class/file`) names it."""
        inside = image.removeprefix(self._prefix)
        found = self._rows.get(image) or self._rows.get(inside) or self._folded.get(folded(inside))
        path = Path(image)
        if found is None and path.suffix:
            found = self._rows.get(path.with_suffix("").as_posix())
        # The image of an ID may be in a subfolder.
        return found or (self._rows.get(path.name) or self._rows.get(path.stem) if self._ids else None)


def _posix(file: str) -> str:
    return Path(file.replace("\\", "/")).as_posix()


def _origins(rows: Sequence[TableRow | None], names: set[str]) -> Origins:
    groups = ["" if row is None else row.group for row in rows]
    sources = ["" if row is None else row.source for row in rows]
    # A group with the name of an image is not a lesion or patient.
    known = all(groups) and not names.issuperset(groups)
    return Origins(groups if known else None, sources if any(sources) else None)
