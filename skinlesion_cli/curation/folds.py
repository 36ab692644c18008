"""Cross-validation folds of a data set, as tables: no image is copied."""

import dataclasses
from pathlib import Path

from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.curation.split import assign_groups
from skinlesion_cli.data.manifest import origins_of, other_columns
from skinlesion_cli.data.splits import is_table, read_splits
from skinlesion_cli.data.table import root_of, write_data_table
from skinlesion_cli.data.table_rows import TableRow

POOLED = ("train", "val")
"""The splits that folds are made of. The test split is not used for any decision."""
VAL_SHARE = 0.125
"""Of the images that are not held out; validation selects the epoch."""


def make_folds(
    data_root: Path,
    out: Path,
    folds: int,
    seed: int,
    on_event: OnEvent = ignore,
    *,
    images_root: Path | None = None,
) -> tuple[list[Path], Path]:
    """Write one table per fold, `out/1.csv`, `out/2.csv`, …; returns them, and the folder of their images.

    The `test` of a fold is its held-out part of train and val together; its `val` is an eighth of the others.
    The folds are stratified by class, and no lesion or patient spans two splits of a fold. Existing folds are
    kept: the same data set, number and seed give the same folds.

    Raises:
        InputError: a class has too few groups for this many folds.
    """
    rows: list[TableRow] = []
    for name, split in read_splits(data_root, POOLED, on_event=on_event, images_root=images_root).items():
        origins = origins_of(data_root, name, split.files)
        others = other_columns(data_root, name, split.files)
        # The files of a table are relative to one folder for all splits, those of a folder to that of the
        # split.
        files = [(file if split.table else name / file).as_posix() for file in split.files]
        for index, (file, label) in enumerate(zip(files, split.labels, strict=True)):
            group = origins.groups[index] if origins.groups else file
            source = origins.sources[index] if origins.sources else ""
            cells = {column: values[index] for column, values in others.items()}
            rows.append(TableRow(0, file, split.classes[label], name, group, source, cells))
    labels, groups = [row.label for row in rows], [row.group for row in rows]
    held_out = assign_groups(labels, groups, {str(fold): 1 / folds for fold in range(1, folds + 1)}, seed)
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for fold in range(1, folds + 1):
        others_of_fold = [index for index, one in enumerate(held_out) if one != str(fold)]
        inner = assign_groups(
            [labels[index] for index in others_of_fold],
            [groups[index] for index in others_of_fold],
            {"train": 1 - VAL_SHARE, "val": VAL_SHARE},
            seed + fold,
        )
        split_of = dict(zip(others_of_fold, inner, strict=True))
        made.append(out / f"{fold}.csv")
        if not made[-1].exists():
            placed = [
                dataclasses.replace(row, split=split_of.get(index, "test")) for index, row in enumerate(rows)
            ]
            write_data_table(made[-1], placed)
        on_event(ImagesDone("making folds", fold, folds))
    return made, root_of(data_root, images_root) if is_table(data_root) else data_root
