"""Copies of a photograph are found; photographs that only look alike are not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.events import Event, ImagesDone
from skinlesion_cli.curation.duplicates import Pair, find_duplicates
from skinlesion_cli.curation.families import connected_components
from skinlesion_cli.curation.fingerprint import filled_border, local_features, mirrored
from skinlesion_cli.curation.synthetic import KINDS, draw_lesion


def _photo(seed: int, kind: str = "synthetic blotch") -> Image.Image:
    """A drawn lesion with the spots and furrows that a drawing lacks and skin has."""
    image = draw_lesion(kind, seed)
    random = np.random.default_rng(seed)
    texture = np.zeros((image.height, image.width))
    for sigma, strength in ((1.5, 8), (4, 10)):
        noise = Image.fromarray(random.normal(0, 1, texture.shape).astype(np.float32))
        soft = _soft(noise, sigma)
        texture += soft / soft.std() * strength
    return Image.fromarray((np.asarray(image) + texture[..., None]).clip(0, 255).astype(np.uint8))


def _soft(noise: Image.Image, sigma: float) -> np.ndarray:
    """Noise blurred by shrinking and growing, which Pillow does for floats too."""
    small = noise.resize((round(noise.width / sigma), round(noise.height / sigma)), Image.Resampling.BOX)
    return np.asarray(small.resize(noise.size, Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [_photo(seed, kind) for seed, kind in enumerate(KINDS)]


def _saved(folder: Path, images: list[Image.Image]) -> list[Path]:
    paths = []
    for number, image in enumerate(images):
        paths.append(folder / f"{number:03}.png")
        image.save(paths[-1])
    return paths


def test_same_bytes_and_same_pixels(tmp_path: Path, photos: list[Image.Image]) -> None:
    first, other = _saved(tmp_path, photos[:2])
    twin, recoded = tmp_path / "twin.png", tmp_path / "recoded.bmp"
    shutil.copy(first, twin)
    photos[0].save(recoded)
    pairs = find_duplicates([first, other, twin, recoded])
    assert pairs == [Pair(0, 2, "bytes"), Pair(0, 3, "pixels")]
    assert connected_components(4, [(pair.a, pair.b) for pair in pairs]) == [[0, 2, 3]]


def test_changed_copies_are_near_and_others_are_not(tmp_path: Path, photos: list[Image.Image]) -> None:
    one = photos[0]
    width, height = one.size
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    copies = [
        one.resize((round(width * 1.4), round(height * 1.4)), Image.Resampling.BICUBIC),
        one.crop((0, round(height * 0.15), round(width * 0.83), height)),
        ImageOps.mirror(one),
        one.rotate(37, Image.Resampling.BICUBIC),
        ImageOps.flip(one.rotate(200, Image.Resampling.BICUBIC, fillcolor="white")),
        ImageEnhance.Contrast(ImageEnhance.Brightness(one).enhance(1.15)).enhance(0.8),
        one.filter(ImageFilter.GaussianBlur(1)),
        Image.fromarray((np.asarray(one) + noise).clip(0, 255).astype(np.uint8)),
    ]
    paths = _saved(tmp_path, photos + copies)
    pairs = find_duplicates(paths)
    assert {pair.kind for pair in pairs} == {"near"}
    assert connected_components(len(paths), [(pair.a, pair.b) for pair in pairs]) == [
        [0, *range(len(photos), len(paths))]
    ]


def test_photographs_of_one_kind_are_not_near(tmp_path: Path) -> None:
    paths = _saved(tmp_path, [_photo(seed) for seed in range(20, 35)])
    assert find_duplicates(paths) == []


def test_workers_find_the_same(tmp_path: Path, photos: list[Image.Image]) -> None:
    paths = _saved(tmp_path, [*photos[:3], ImageOps.mirror(photos[1])])
    events: list[Event] = []
    pairs = find_duplicates(paths, workers=2, on_event=events.append)
    assert pairs == find_duplicates(paths) == [Pair(1, 3, "near")]
    assert events[:2] == [ImagesDone("reading", 1, 4), ImagesDone("reading", 2, 4)]
    assert find_duplicates(paths, near=False) == []


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(tmp_path: Path, photos: list[Image.Image], count: int) -> None:
    assert find_duplicates(_saved(tmp_path, photos[:count])) == []


def test_featureless_pictures_have_no_near_copies(tmp_path: Path) -> None:
    paths = _saved(tmp_path, [Image.new("RGB", (64, 48), colour) for colour in ("red", "white", "black")])
    assert find_duplicates(paths) == []


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"bad\.jpg"):
        find_duplicates([bad])


def test_a_second_search_reads_changed_files_again(tmp_path: Path, photos: list[Image.Image]) -> None:
    paths = _saved(tmp_path, [photos[0], ImageOps.mirror(photos[0])])
    assert find_duplicates(paths) == [Pair(0, 1, "near")]
    # Another pair of copies under the same names, and then two different photographs.
    _saved(tmp_path, [photos[1].rotate(90, expand=True), photos[1]])
    assert find_duplicates(paths) == [Pair(0, 1, "near")]
    _saved(tmp_path, photos[:2])
    assert find_duplicates(paths) == []


def test_mirrored_descriptors_are_those_of_the_mirrored_picture(photos: list[Image.Image]) -> None:
    grey = np.asarray(photos[0].convert("L").resize((255, 191)))
    points, descriptors = local_features(grey)
    other_points, other = local_features(np.ascontiguousarray(grey[:, ::-1]))
    found = 0
    for point, descriptor in zip(points, mirrored(descriptors), strict=True):
        near = np.hypot(other_points[:, 0] - (254 - point[0]), other_points[:, 1] - point[1]) < 0.6
        if near.any():
            a, b = descriptor.astype(float), other[near].astype(float)
            found += (b @ a / (np.linalg.norm(b, axis=1) * np.linalg.norm(a))).max() > 0.95
    assert found > 0.7 * len(points)


def test_filled_corners_are_not_the_picture(photos: list[Image.Image]) -> None:
    for fill in ("black", "white", (118, 118, 118)):
        turned = photos[0].rotate(30, Image.Resampling.BICUBIC, fillcolor=fill).convert("L")
        filled = filled_border(np.asarray(turned))
        corners = [filled[0, 0], filled[0, -1], filled[-1, 0], filled[-1, -1]]
        assert corners == [1, 1, 1, 1]
        assert filled[filled.shape[0] // 2, filled.shape[1] // 2] == 0
        assert 0.05 < filled.mean() < 0.5
