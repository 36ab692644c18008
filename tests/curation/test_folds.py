from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.curation.folds import make_folds
from skinlesion_cli.data.manifest import ManifestRow, origins_of, write_manifest
from skinlesion_cli.data.splits import read_split, read_splits
from tests.conftest import CLASSES, draw_data_set


@pytest.fixture
def grouped(tmp_path: Path) -> Path:
    """A data set whose images come in pairs of one lesion; the same names in train and val."""
    root = draw_data_set(tmp_path / "data", {"train": (12, 8, 8), "val": (4, 4, 4), "test": (2, 2, 2)})
    rows = []
    for split, counts in {"train": (12, 8, 8), "val": (4, 4, 4), "test": (2, 2, 2)}.items():
        for name, count in zip(CLASSES, counts, strict=True):
            rows += [
                ManifestRow(split, name, f"{n}.jpg", f"{split}-{name}-{n // 2}", "drawn")
                for n in range(count)
            ]
    write_manifest(root, rows)
    return root


def test_every_image_of_train_and_val_is_held_out_once_and_no_group_is_divided(
    grouped: Path, tmp_path: Path
) -> None:
    folds, images = make_folds(grouped, tmp_path / "folds", 3, seed=1)
    assert (len(folds), images) == (3, grouped)
    pool = {path for name in ("train", "val") for path in read_split(grouped, name).paths}
    held_out: list[Path] = []
    for fold in folds:
        splits = read_splits(fold, ["train", "val"], ["test"], images_root=images)
        groups = {name: set(origins_of(fold, name, one.files).groups or []) for name, one in splits.items()}
        assert all(groups.values())
        assert not groups["train"] & groups["val"]
        assert not (groups["train"] | groups["val"]) & groups["test"]
        assert all(count > 0 for one in splits.values() for count in one.counts.values())
        # No copies; the test split is not in any fold.
        assert {path for one in splits.values() for path in one.paths} == pool
        held_out += splits["test"].paths
    assert sorted(held_out) == sorted(pool)


def test_folds_of_a_table_are_those_of_its_folders(grouped: Path, tmp_path: Path) -> None:
    of_folders, _ = make_folds(grouped, tmp_path / "a", 2, seed=1)
    of_table, images = make_folds(grouped / "manifest.csv", tmp_path / "b", 2, seed=1)
    assert images == grouped
    assert [one.read_bytes() for one in of_table] == [one.read_bytes() for one in of_folders]


def test_folds_are_reproducible_and_kept(grouped: Path, tmp_path: Path) -> None:
    (first, _), _ = make_folds(grouped, tmp_path / "a", 2, seed=1)
    content = first.read_bytes()
    assert make_folds(grouped, tmp_path / "b", 2, seed=1)[0][0].read_bytes() == content
    assert make_folds(grouped, tmp_path / "c", 2, seed=2)[0][0].read_bytes() != content
    first.write_bytes(content + b"\n")
    make_folds(grouped, tmp_path / "a", 2, seed=1)
    assert first.read_bytes() == content + b"\n"


def test_a_class_with_too_few_groups_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'synthetic ring' has 6 groups .*; a split needs at least 7"):
        make_folds(data, tmp_path, 7, seed=0)
