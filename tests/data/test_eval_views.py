import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli.data import eval_views as views
from skinlesion_cli.data.eval_views import BATCHES_AHEAD, viewed_batches
from skinlesion_cli.data.framing import fitted
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.splits import read_split


@pytest.mark.parametrize("workers", [0, 3])
def test_views_are_the_centre_crops_in_order(data: Path, workers: int) -> None:
    paths = read_split(data, "train").paths
    batches = list(viewed_batches(paths, img_size=64, batch_size=5, workers=workers))
    assert [len(batch.images) for batch in batches] == [5, 5, 5, 5, 3]
    pixels = np.concatenate([batch.images for batch in batches])
    expected = np.stack([np.array(fitted(read_image(path), 64)).transpose(2, 0, 1) for path in paths])
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_file_is_named_in_its_place(data: Path, tmp_path: Path, workers: int) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no image", encoding="utf-8")
    good = read_split(data, "test").paths[0]
    (batch,) = viewed_batches([good, broken, good], img_size=64, batch_size=8, workers=workers)
    assert [bool(fault) for fault in batch.faults] == [False, True, False]
    assert str(broken) in batch.faults[1]
    assert np.array_equal(batch.images[0], batch.images[2])
    assert batch.images[0].any()
    assert not batch.images[1].any()


def test_only_a_few_batches_are_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    all_read = threading.Event()

    def fake(path: Path) -> Image.Image:
        read.append(path)
        if len(read) == 4 * (1 + BATCHES_AHEAD):
            all_read.set()
        return Image.new("RGB", (40, 40))

    monkeypatch.setattr(views, "read_image", fake)
    batches = viewed_batches([Path(f"{i}.jpg") for i in range(100)], img_size=32, batch_size=4, workers=2)
    next(batches)
    # The batches ahead are read without being asked for, and no others.
    assert all_read.wait(timeout=10)
    assert len(read) == 4 * (1 + BATCHES_AHEAD)
    next(batches)
    before = threading.active_count()
    batches.close()
    assert len(read) <= 4 * (2 + BATCHES_AHEAD)
    assert threading.active_count() < before


def test_threads_leave_the_filters_of_warnings_alone(data: Path) -> None:
    paths = read_split(data, "train").paths * 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        for _ in viewed_batches(paths, img_size=32, batch_size=16, workers=8):
            pass
        assert list(warnings.filters) == before
