"""A cache changes how fast an image comes, not which image comes."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.common.paper import Resize
from skinlesion_cli.curation.synthetic import KINDS, draw_lesion
from skinlesion_cli.data.augment import crop
from skinlesion_cli.data.eval_views import viewed_batches
from skinlesion_cli.data.image_cache import (
    ImageCache,
    ShrunkPictures,
    open_cache,
    open_views,
    shrunk_size,
)
from tests.support.fits import resize_of


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """A JPEG that is decoded at half size, one on its side, a PNG to be shrunk, and a small one."""
    folder = tmp_path / "images"
    folder.mkdir()
    pictures = [draw_lesion(kind, 1) for kind in list(KINDS)[:4]]
    large, sideways, png, small = (folder / name for name in ("a.jpg", "b.jpg", "c.png", "d.jpg"))
    pictures[0].resize((401, 303)).save(large, quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures[1].resize((195, 150)).save(sideways, exif=exif)
    pictures[2].resize((300, 200)).save(png)
    pictures[3].resize((50, 40)).save(small)
    return [large, sideways, png, small]


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_views_of_another_fit_are_cached_in_another_file(paths: list[Path]) -> None:
    resizes = [resize_of("crop"), resize_of("pad"), Resize(fit="pad"), resize_of("squash")]
    places = {open_views("disk", paths, 64, resize)[1] for resize in resizes}
    assert len(places) == 4
    for resize in resizes:
        cache, _ = open_views("disk", paths, 64, resize)
        for _ in range(2):
            (batch,) = viewed_batches(paths, img_size=64, batch_size=4, workers=0, resize=resize, kept=cache)
            (plain,) = viewed_batches(paths, img_size=64, batch_size=4, workers=0, resize=resize)
            assert np.array_equal(batch.images, plain.images)


def test_shrunk_sizes() -> None:
    assert shrunk_size(600, 450, 323) == (431, 323)
    assert shrunk_size(450, 600, 323) == (323, 431)
    assert shrunk_size(200, 150, 323) == (200, 150)
    # Up to a quarter larger, it stays as it is.
    assert shrunk_size(640, 480, 384) == (640, 480)
    assert shrunk_size(641, 481, 384) == (512, 384)


def test_a_picture_is_the_same_from_the_file_and_from_every_cache(paths: list[Path]) -> None:
    plain = ShrunkPictures(paths, 64, None)
    expected = [plain[index] for index in range(len(paths))]
    assert [tuple(one.shape) for one in expected] == [(3, 96, 127), (3, 125, 96), (3, 96, 144), (3, 40, 50)]
    for kind in ("ram", "disk"):
        cache, _ = open_cache(kind, paths, 64)
        assert cache is not None
        pictures = ShrunkPictures(paths, 64, cache)
        for index, picture in enumerate(expected):
            assert cache.get(index) is None
            assert torch.equal(pictures[index], picture)
            assert cache.get(index) is not None
            assert torch.equal(pictures[index], picture)


def fine_detail(picture: torch.Tensor) -> float:
    """Mean square of the Laplacian of the grey picture (3, height, width)."""
    grey = picture.float().mean(dim=0)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((4 * inner - around).square().mean())


def test_a_crop_of_a_shrunken_picture_is_as_sharp_as_one_of_the_whole(tmp_path: Path) -> None:
    path, side = tmp_path / "textured.png", 256
    # With a grain like that of a photograph; the drawn lesion is smooth.
    pixels = np.asarray(draw_lesion(next(iter(KINDS)), 1).resize((648, 486)), np.float64)
    grain = np.random.default_rng(0).normal(0, 90, pixels.shape[:2])
    for axis in (0, 1, 0, 1):
        grain = (np.roll(grain, 1, axis) + 2 * grain + np.roll(grain, -1, axis)) / 4
    Image.fromarray(np.clip(pixels + grain[..., None], 0, 255).astype(np.uint8)).save(path)

    whole = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
    shrunken = ShrunkPictures([path], side, None)[0]
    assert shrunken.shape[1] < whole.shape[1]
    scale = shrunken.shape[1] / whole.shape[1]
    box = (54, 22, 432, 432)
    left, top, width, height = (round(scale * edge) for edge in box)
    small_box = (left, top, width, height)
    ratio = fine_detail(crop(shrunken, small_box, side)) / fine_detail(crop(whole, box, side))
    assert 0.9 < ratio < 1.05


def test_files_are_not_read_again(paths: list[Path]) -> None:
    cache, _ = open_cache("ram", paths, 64)
    pictures = ShrunkPictures(paths, 64, cache)
    before = pictures[0]
    paths[0].unlink()
    paths[1].unlink()
    assert torch.equal(pictures[0], before)
    with pytest.raises(UnreadableImageError, match=r"b\.jpg"):
        pictures[1]


def test_a_file_of_the_cache_outlives_the_run_and_not_a_changed_image(paths: list[Path]) -> None:
    first, said = open_cache("disk", paths, 64)
    assert first is not None
    assert first.path is not None
    assert str(first.path) in said
    ShrunkPictures(paths, 64, first)[2]
    again, _ = open_cache("disk", paths, 64)
    assert again is not None
    assert again.get(2) is not None
    assert again.get(3) is None

    os.utime(paths[2], ns=(1, 1))
    touched, _ = open_cache("disk", paths, 64)
    assert touched is not None
    assert touched.get(2) is not None
    paths[2].write_bytes(paths[2].read_bytes() + b"\0")
    changed, _ = open_cache("disk", paths, 64)
    assert changed is not None
    assert changed.get(2) is None
    assert not first.path.exists()
    # Nothing but the one file of today is left, and nothing beside the images.
    assert len(list(first.path.parent.iterdir())) == 1
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)


@pytest.mark.parametrize("views", [False, True])
def test_other_pixels_in_a_file_of_the_same_size_and_time_are_read(paths: list[Path], views: bool) -> None:
    contents = []
    for kind in list(KINDS)[4:6]:
        draw_lesion(kind, 1).resize((300, 200)).save(paths[2])
        contents.append(paths[2].read_bytes())
    caches = []
    for content in contents:
        paths[2].write_bytes(content.ljust(max(map(len, contents)), b"\0"))
        os.utime(paths[2], ns=(1, 1))
        cache, _ = open_views("disk", paths, 64) if views else open_cache("disk", paths, 64)
        assert cache is not None
        assert cache.get(2) is None
        picture = torch.zeros(3, 64, 64) if views else ShrunkPictures(paths, 64, cache)[2]
        cache.put(2, picture.to(torch.uint8))
        caches.append(cache.path)
    assert caches[0] != caches[1]


def test_an_image_that_changes_its_size_meanwhile_is_not_kept(paths: list[Path]) -> None:
    cache, _ = open_cache("ram", paths, 64)
    shutil.copy(paths[3], paths[2])
    assert ShrunkPictures(paths, 64, cache)[2].shape == (3, 40, 50)
    assert cache is not None
    assert cache.get(2) is None


def test_another_process_may_map_the_file_itself(paths: list[Path]) -> None:
    cache, _ = open_cache("disk", paths, 64)
    copy: ImageCache = pickle.loads(pickle.dumps(cache))
    assert cache is not None
    cache.put(3, torch.full((3, 40, 50), 7, dtype=torch.uint8))
    kept = copy.get(3)
    assert kept is not None
    assert np.unique(kept).tolist() == [7]


def test_a_lack_of_space_is_reported(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_cache("off", paths, 64) == (None, "off")
    monkeypatch.setattr("skinlesion_cli.data.image_cache._free_memory", lambda: 1000)
    with pytest.raises(InputError, match="--cache ram needs"):
        open_cache("ram", paths, 64)
    assert "cache/skinlesion/images" in open_cache("auto", paths, 64)[1]
    monkeypatch.setattr("skinlesion_cli.data.image_cache._free_disk", lambda _: 1000)
    assert open_cache("auto", paths, 64)[0] is None
    monkeypatch.setattr("skinlesion_cli.data.image_cache.RULE", "another")
    with pytest.raises(InputError, match="--cache disk needs"):
        open_cache("disk", paths, 64)


@pytest.mark.parametrize("kind", ["ram", "disk"])
@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_views_are_kept_and_the_files_not_read_again(
    paths: list[Path], kind: str, workers: int
) -> None:
    def views(kept: ImageCache | None) -> np.ndarray:
        batches = viewed_batches(paths, img_size=64, batch_size=3, workers=workers, kept=kept)
        return np.concatenate([batch.images for batch in batches])

    plain = views(None)
    kept, _ = open_views(kind, paths, 64)
    assert kept is not None
    assert kept.get(0) is None
    assert np.array_equal(views(kept), plain)
    for path in paths:
        path.unlink()
    assert np.array_equal(views(kept), plain)
    assert not np.array_equal(views(None), plain)


def test_a_file_that_cannot_be_read_is_not_kept(paths: list[Path]) -> None:
    paths[0].write_bytes(b"no image")
    kept, _ = open_views("ram", paths, 64)
    (batch,) = viewed_batches(paths, img_size=64, batch_size=8, workers=0, kept=kept)
    assert batch.faults[0]
    assert kept is not None
    assert kept.get(0) is None
    assert kept.get(1) is not None
