"""Building data sets (`SPLIT/CLASS/FILE` and a manifest) from labelled photographs or published downloads."""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import ImagesDone, OnEvent, Warned, ignore
from skinlesion_cli.common.files import (
    ensure_writable_file,
    ensure_writable_folder,
    partial_of,
    written_whole,
)
from skinlesion_cli.common.paper import DEFAULT_RATIOS
from skinlesion_cli.curation import downloads
from skinlesion_cli.curation.audit import verdict_of
from skinlesion_cli.curation.check_log import remember_check
from skinlesion_cli.curation.downloads import Download, Photo
from skinlesion_cli.curation.duplicates import find_duplicates
from skinlesion_cli.curation.families import merge_names
from skinlesion_cli.curation.groups import coverage_text, groups_of, read_groups
from skinlesion_cli.curation.labels import Labelled, read_labels
from skinlesion_cli.curation.split import Ratios, parse_ratios, split_groups
from skinlesion_cli.data.images import check_images
from skinlesion_cli.data.manifest import MANIFEST, ManifestRow, write_manifest
from skinlesion_cli.data.splits import count_labels
from skinlesion_cli.data.suffixes import is_table_name
from skinlesion_cli.data.table import write_data_table
from skinlesion_cli.data.table_rows import TableRow
from skinlesion_cli.data.workers import worker_count


@dataclass(frozen=True)
class DataSet:
    """A data set that was built."""

    folder: Path
    """The folder, or its table."""
    images: tuple[ManifestRow | TableRow, ...]
    downloads: tuple[Download, ...] = ()
    """The downloads it was built from, with what was left out."""
    coverage: str = ""
    """How many images have a group, in one line."""
    grouped: bool = True
    """Whether the lesion or patient of any image is known; otherwise, the groups are copies."""
    images_root: Path | None = None
    """Of a table, the folder that its files are relative to, if that is not its own."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of images per class, per split."""
        return count_labels((row.split, row.label) for row in self.images)

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len({row.group for row in self.images})

    def summary(self) -> str:
        """The number of images and groups, in one line."""
        images = f"{len(self.images)} images"
        if self.grouped:
            return f"{images} in {self.groups} groups; no group spans two splits"
        copies = len(self.images) - self.groups
        return f"{images}, {copies} of them copies of others; no photograph spans two splits"


def split_data_set(
    source: Path,
    out: Path,
    *,
    images_root: Path | None = None,
    groups: Path | None = None,
    near: bool = True,
    ratios: str = DEFAULT_RATIOS,
    seed: int = 0,
    link: bool = False,
    num_workers: int | None = None,
    on_event: OnEvent = ignore,
) -> DataSet:
    """Split labelled photographs so that neither a group nor copies of one photograph span two splits.

    `source`, `images_root` and `groups` are those of `read_labels` and `read_groups`; an image without a
    group is its own group. Files are copied, or hard-linked if `link`, to `out`, a new or empty folder; if
    `out` is a .csv, only a table is written. With `near`, changed copies are found too, not only equal bytes
    and equal pixels. InputError if `source` or `groups` is invalid, `out` is not empty, or a class has too
    few groups; SkinLesionError if a file cannot be read or written.
    """
    shares = parse_ratios(ratios)
    labelled = read_labels(source, on_event, images_root=images_root)
    known = read_groups(groups) if groups is not None else labelled.groups
    as_table = is_table_name(out)
    if as_table:
        _require_new_table(out, link)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty; choose a new folder with --out")
    paths, files = labelled.paths, labelled.files
    check_images(paths)
    given = groups_of(known, files, labelled.root, groups)
    pairs = find_duplicates(paths, near=near, workers=worker_count(num_workers), on_event=on_event)
    inside, images_of_table = _files_of_table(labelled, out)
    own = inside if as_table else [f"{row.label}/{Path(row.file).name}" for row in labelled.rows]
    names = [group or name for group, name in zip(given, own, strict=True)]
    merged = merge_names(names, [(pair.a, pair.b) for pair in pairs])
    # A known lesion or patient gives the group its name, even if a copy without one comes first.
    known_names = {name: group for name, group in zip(merged, given, strict=True) if group}
    merged = [known_names.get(name, name) for name in merged]
    placed = [
        replace(row, file=file, group=group, source=row.source or source.name)
        for row, file, group in zip(labelled.rows, inside, merged, strict=True)
    ]
    rows: tuple[ManifestRow | TableRow, ...]
    if as_table:
        splits = split_groups([row.label for row in placed], merged, shares, seed)
        placed = [replace(row, split=split) for row, split in zip(placed, splits, strict=True)]
        write_data_table(out, placed)
        rows = tuple(placed)
    else:
        photos = [
            Photo(path, row.label, row.group, row.source) for path, row in zip(paths, placed, strict=True)
        ]
        rows, images_of_table = _copy_photos(photos, out, shares, seed, link, on_event), None
    images = [(row.split, file, group) for row, file, group in zip(rows, files, given, strict=True)]
    _remember(out, images_of_table, rows, given, on_event)
    coverage = coverage_text(images, known)
    return DataSet(out, rows, coverage=coverage, grouped=any(given), images_root=images_of_table)


def _require_new_table(out: Path, link: bool) -> None:
    if link:
        raise InputError(f"--link needs a folder as --out; for the table {out}, nothing is copied")
    if out.exists():
        raise InputError(f"{out} already exists; choose a new table with --out")
    ensure_writable_file(out, option="--out")


def _files_of_table(labelled: Labelled, out: Path) -> tuple[list[str], Path | None]:
    """The file names for a table at `out`, and the folder for --images if they are not below its own."""
    root, base = Path(os.path.abspath(labelled.root)), Path(os.path.abspath(out.parent))  # noqa: PTH100
    if not root.is_relative_to(base):
        return labelled.files, labelled.root
    return [(root.relative_to(base) / file).as_posix() for file in labelled.files], None


def _remember(
    out: Path,
    images_root: Path | None,
    rows: Sequence[ManifestRow | TableRow],
    groups: Sequence[str | None],
    on_event: OnEvent,
) -> None:
    """Record the split's search for copies and groups as a check of the new data set."""
    verdict = verdict_of(0, sum(row.split == "test" for row in rows), [group is not None for group in groups])
    try:
        remember_check(out, verdict, leaking=False, images=images_root)
    except InputError as error:
        on_event(Warned(f"this check is not recorded: {error}"))


def prepare_data_set(
    out: Path,
    *,
    ham10000: Path | None = None,
    isic2019: Path | None = None,
    msld: Path | None = None,
    ratios: str = DEFAULT_RATIOS,
    seed: int = 0,
    link: bool = False,
    on_event: OnEvent = ignore,
) -> DataSet:
    """Build the 14-class data set from the published downloads: originals only, each image once.

    Files are copied, or hard-linked if `link`, to `out`: a new folder, or one that an interrupted call with
    the same arguments began. InputError if no download is given, one is incomplete, or `out` holds other
    files; SkinLesionError if a file cannot be written.
    """
    shares = parse_ratios(ratios)
    for folder in (isic2019, ham10000, msld):
        if folder is not None and not folder.is_dir():
            raise InputError(f"there is no folder {folder}")
    truth = downloads.read_isic2019_truth(isic2019) if isic2019 else None
    found = [downloads.read_ham10000(ham10000, truth, on_event)] if ham10000 else []
    found += [downloads.read_isic2019(isic2019, truth, on_event)] if isic2019 and truth is not None else []
    found += [downloads.read_msld(msld, on_event)] if msld else []
    if not found:
        raise InputError("give at least one download: --ham10000, --isic2019 or --msld")
    found = downloads.without_repeats(found)
    photos = [photo for download in found for photo in download.photos]
    return DataSet(out, _copy_photos(photos, out, shares, seed, link, on_event), tuple(found))


def _copy_photos(
    photos: Sequence[Photo], out: Path, ratios: Ratios, seed: int, link: bool, on_event: OnEvent
) -> tuple[ManifestRow, ...]:
    """Split photographs, copy them to `out/SPLIT/CLASS/`, and write `out/manifest.csv` last.

    After an interruption, the same call continues: existing files are kept, and the manifest shows that the
    data set is complete. The originals are only read.
    """
    splits = split_groups([photo.label for photo in photos], [photo.group for photo in photos], ratios, seed)
    rows = [
        ManifestRow(split, photo.label, photo.path.name, photo.group, photo.source, photo.others)
        for split, photo in zip(splits, photos, strict=True)
    ]
    (label, file), times = Counter((row.label, row.file) for row in rows).most_common(1)[0]
    if times > 1:
        fault = f"the class {label!r} has {times} images named {file!r}"
        raise InputError(f"{fault}; names must be unique in a class")
    targets = [out / row.split / row.label / row.file for row in rows]
    _require_own(out, set(targets))
    for done, (photo, target) in enumerate(zip(photos, targets, strict=True), start=1):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as part:
                os.link(photo.path, part) if link else shutil.copyfile(photo.path, part)
        on_event(ImagesDone("copying", done, len(rows)))
    write_manifest(out, sorted(rows, key=lambda row: (row.split, row.label, row.file)))
    return tuple(rows)


def _require_own(out: Path, targets: set[Path]) -> None:
    """Refuse a folder that contains anything but a part of this data set; remove half-written files."""
    if (out / MANIFEST).exists():
        raise InputError(f"{out} already contains a finished data set; choose another folder with --out")
    foreign = {path for path in out.rglob("*") if not path.is_dir() and path not in targets}
    partial = {path for path in foreign if partial_of(path) in targets}
    if others := sorted(foreign - partial):
        foreigner = others[0].relative_to(out)
        raise InputError(
            f"{out} contains {foreigner}, which does not belong to this data set; choose a new folder"
        )
    ensure_writable_folder(out)
    for path in partial:
        path.unlink()
