from collections import Counter
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
    before = {path: path.stat().st_nlink for path in grouped.rglob("*.jpg")}
    folds = make_folds(grouped, tmp_path / "folds", 3, seed=1)
    held_out: Counter[int] = Counter()
    for fold in folds:
        splits = read_splits(fold, ["train", "val"], ["test"])
        groups = {name: set(origins_of(fold, name, one.files).groups or []) for name, one in splits.items()}
        assert all(groups.values())
        assert not groups["train"] & groups["val"]
        assert not (groups["train"] | groups["val"]) & groups["test"]
        assert all(count > 0 for one in splits.values() for count in one.counts.values())
        assert sum(len(one.files) for one in splits.values()) == 40
        held_out.update(path.stat().st_ino for path in splits["test"].paths)
    pool = [path for name in ("train", "val") for path in read_split(grouped, name).paths]
    assert held_out == Counter(path.stat().st_ino for path in pool)
    # Linked, not copied; the test split is not in any fold.
    assert all(path.stat().st_nlink == before[path] + 3 for path in pool)
    assert all(path.stat().st_nlink == before[path] for path in read_split(grouped, "test").paths)


def test_folds_are_reproducible_and_kept(grouped: Path, tmp_path: Path) -> None:
    first = make_folds(grouped, tmp_path / "a", 2, seed=1)
    manifest = (first[0] / "manifest.csv").read_bytes()
    assert (make_folds(grouped, tmp_path / "b", 2, seed=1)[0] / "manifest.csv").read_bytes() == manifest
    assert (make_folds(grouped, tmp_path / "c", 2, seed=2)[0] / "manifest.csv").read_bytes() != manifest
    # Cut off before its manifest was written.
    (first[0] / "manifest.csv").unlink()
    next(first[0].rglob("*.jpg")).unlink()
    make_folds(grouped, tmp_path / "a", 2, seed=1)
    assert (first[0] / "manifest.csv").read_bytes() == manifest
    assert len(list(first[0].rglob("*.jpg"))) == 40


def test_a_class_with_too_few_groups_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'synthetic ring' has 6 groups .*; a split needs at least 7"):
        make_folds(data, tmp_path, 7, seed=0)
