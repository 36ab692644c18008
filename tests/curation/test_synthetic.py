from pathlib import Path

import numpy as np
from PIL import Image

from skinlesion_cli.curation.synthetic import KINDS, draw_lesion, write_data_set
from skinlesion_cli.data.splits import read_splits


def test_the_data_set_is_fourteen_unequal_classes_of_real_jpegs(tmp_path: Path) -> None:
    written = write_data_set(tmp_path / "data")
    splits = read_splits(tmp_path / "data", ["train", "val", "test"])
    assert len(splits["train"].classes) == 14
    assert splits["train"].counts == {name: KINDS[name].train for name in sorted(KINDS)}
    assert max(splits["train"].counts.values()) == 10 * min(splits["train"].counts.values())
    paths = [path for split in splits.values() for path in split.paths]
    assert written == len(paths)
    assert len({path.read_bytes() for path in paths}) == len(paths)
    with Image.open(paths[0]) as image:
        assert image.format == "JPEG"


def test_a_seed_draws_the_same_picture_again() -> None:
    for kind in KINDS:
        first, again, other = draw_lesion(kind, 1), draw_lesion(kind, 1), draw_lesion(kind, 2)
        assert np.array_equal(np.asarray(first), np.asarray(again))
        assert first.size != other.size or not np.array_equal(np.asarray(first), np.asarray(other))


def test_kinds_look_different() -> None:
    # Mean colours of the central part differ between most pairs; patterns separate the rest.
    pictures = {kind: np.asarray(draw_lesion(kind, 4).resize((32, 32)), dtype=float) for kind in KINDS}
    names = list(pictures)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert np.abs(pictures[one] - pictures[other]).mean() > 3, (one, other)
