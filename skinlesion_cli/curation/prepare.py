"""Building a data set from downloads: originals only, no group on two sides, nothing half copied."""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.common.files import ensure_writable_folder, partial_of, written_whole
from skinlesion_cli.curation.sources import Photo
from skinlesion_cli.curation.split import split_groups
from skinlesion_cli.data.manifest import MANIFEST, ManifestRow, write_manifest


def build_data_set(
    photos: Sequence[Photo],
    out: Path,
    *,
    ratios: tuple[float, float, float],
    seed: int,
    link: bool = False,
    on_event: OnEvent = ignore,
) -> list[ManifestRow]:
    """Copy photographs to `out/SPLIT/CLASS/` and write `out/manifest.csv` last.

    It can be stopped and run again: what lies there from the same plan is kept, and the manifest tells that
    all is there. The originals are only read.

    Args:
        photos: names must be unique within a class.
        out: a new folder, or one that an earlier call with the same arguments began.
        ratios: shares of train, val and test.
        seed: of the split.
        link: make hard links instead of copies.
        on_event: is told of the progress.

    Returns:
        The rows of the manifest.

    Raises:
        InputError: `out` holds a finished data set or anything that is not of this plan; a class cannot be
            split.
        SkinLesionError: a file cannot be written.
    """
    splits = split_groups([photo.label for photo in photos], [photo.group for photo in photos], ratios, seed)
    rows = [
        ManifestRow(split, photo.label, photo.path.name, photo.group, photo.source)
        for split, photo in zip(splits, photos, strict=True)
    ]
    targets = [out / row.split / row.label / row.file for row in rows]
    _require_unique(rows)
    _require_own(out, set(targets))
    for done, (photo, target) in enumerate(zip(photos, targets, strict=True), start=1):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as part:
                os.link(photo.path, part) if link else shutil.copyfile(photo.path, part)
        on_event(ImagesDone("copying", done, len(rows)))
    write_manifest(out, sorted(rows, key=lambda row: (row.split, row.label, row.file)))
    return rows


def _require_unique(rows: Sequence[ManifestRow]) -> None:
    names = Counter((row.label, row.file) for row in rows)
    (label, file), times = names.most_common(1)[0]
    if times > 1:
        raise InputError(
            f"the class {label!r} has {times} images named {file!r}; names must differ in a class"
        )


def _require_own(out: Path, targets: set[Path]) -> None:
    if (out / MANIFEST).exists():
        raise InputError(f"{out} holds a finished data set already; name another folder with --out")
    foreign = [path for path in out.rglob("*") if not path.is_dir() and path not in targets]
    leftover = [path for path in foreign if partial_of(path) in targets]
    others = sorted(set(foreign) - set(leftover))
    if others:
        raise InputError(
            f"{out} holds {others[0].relative_to(out)}, which is not of this data set; name a new folder"
        )
    ensure_writable_folder(out)
    for path in leftover:
        path.unlink()
