"""Cross-validation folds of a data set, as data sets of links: no image is copied."""

import os
from collections.abc import Sequence
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.curation.split import assign_groups
from skinlesion_cli.data.manifest import MANIFEST, ManifestRow, origins_of, write_manifest
from skinlesion_cli.data.splits import read_splits

POOLED = ("train", "val")
"""The splits that folds are made of. The test split stays out of every decision."""
VAL_SHARE = 0.125
"""Of the images that are not held out; validation selects the epoch."""


def make_folds(data_root: Path, out: Path, folds: int, seed: int, on_event: OnEvent = ignore) -> list[Path]:
    """Make one data set per fold in `out/1`, `out/2`, …; returns their folders.

    Each fold's `test` are the held-out images of train and val together, its `val` an eighth of the others.
    No lesion or patient of the manifest spans two of its splits, and classes are stratified. Folds that exist
    are kept: the same data set, number and seed give the same folds.

    Raises:
        InputError: a class has too few groups for this many folds.
    """
    splits = read_splits(data_root, POOLED, on_event=on_event)
    rows: list[tuple[Path, ManifestRow]] = []
    for name, split in splits.items():
        origins = origins_of(data_root, name, split.files)
        groups = origins.groups or [f"{name}/{file.as_posix()}" for file in split.files]
        sources = origins.sources or [""] * len(split.files)
        for path, file, label, group, source in zip(
            split.paths, split.files, split.labels, groups, sources, strict=True
        ):
            inside = file.relative_to(split.classes[label]).as_posix()
            # Two splits may have a file of the same name in a class.
            rows.append((path, ManifestRow(name, split.classes[label], f"{name}-{inside}", group, source)))
    labels = [row.label for _, row in rows]
    groups = [row.group for _, row in rows]
    held_out = assign_groups(labels, groups, {str(fold): 1 / folds for fold in range(1, folds + 1)}, seed)
    made = []
    for fold in range(1, folds + 1):
        others = [index for index, one in enumerate(held_out) if one != str(fold)]
        shares = {"train": 1 - VAL_SHARE, "val": VAL_SHARE}
        inner = assign_groups([labels[i] for i in others], [groups[i] for i in others], shares, seed + fold)
        split_of = dict(zip(others, inner, strict=True))
        placed = [
            (path, ManifestRow(split_of.get(index, "test"), row.label, row.file, row.group, row.source))
            for index, (path, row) in enumerate(rows)
        ]
        made.append(_link(placed, out / str(fold)))
        on_event(ImagesDone("making folds", fold, folds))
    return made


def _link(rows: Sequence[tuple[Path, ManifestRow]], folder: Path) -> Path:
    """Make `folder/SPLIT/CLASS/FILE` for each row, and the manifest last; returns the folder."""
    if not (folder / MANIFEST).exists():
        for path, row in rows:
            target = folder / row.split / row.label / row.file
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                _link_file(path, target)
        write_manifest(folder, [row for _, row in rows])
    return folder


def _link_file(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        # Another file system, or one without hard links.
        try:
            target.symlink_to(path.resolve())
        except OSError as error:
            raise InputError(f"cannot link {target} to {path}: {error.strerror}") from None
