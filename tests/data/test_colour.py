"""What the numbers in a file mean: their bit depth, their colour profile, their page."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.data.colour import depth_of
from skinlesion_cli.data.images import read_image, rgb_of, stored_kind, upright_size
from tests.support.icc import SPACES, in_srgb, profile_of

LESION = draw_lesion("synthetic blotch", 5)
PIXELS = np.asarray(LESION)


def test_the_depth_is_the_smallest_that_holds_the_largest_value() -> None:
    largest = (0, 255, 256, 1023, 1024, 4095, 4096, 16383, 16384, 65535)
    assert [depth_of(one) for one in largest] == [8, 8, 10, 10, 12, 12, 14, 14, 16, 16]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["grey.png", "grey.tif", "rgb.png", "rgb.tif", "rgba.png", "rgba.tif"])
def test_few_bits_in_16_are_not_black(tmp_path: Path, kind: str, bits: int) -> None:
    deep = PIXELS.astype(np.uint16) << (bits - 8) | (np.arange(3, dtype=np.uint16) & (2 ** (bits - 8) - 1))
    deep[0, 0] = 2**bits - 1
    expected = (deep >> (bits - 8)).astype(np.uint8)
    if kind.startswith("grey"):
        deep, expected = deep[:, :, 0], np.repeat(expected[:, :, :1], 3, axis=2)
        Image.fromarray(deep).save(tmp_path / kind)
    else:
        blue_first = deep[:, :, ::-1]
        if kind.startswith("rgba"):
            blue_first = np.dstack([blue_first, np.full(deep.shape[:2], 65535, np.uint16)])
        assert cv2.imwrite(str(tmp_path / kind), blue_first)
    assert np.array_equal(np.asarray(read_image(tmp_path / kind)), expected)
    with (tmp_path / kind).open("rb") as file:
        assert np.array_equal(np.asarray(read_image(tmp_path / kind, file=file)), expected)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_profile_is_converted_to_srgb(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    LESION.save(path, icc_profile=profile_of(name), **({"lossless": True} if suffix == "webp" else {}))
    expected = in_srgb(PIXELS, name)
    assert np.abs(expected - PIXELS).max() > 8
    assert np.abs(np.asarray(read_image(path)) - expected).max() < 2
    assert stored_kind(path)[2] == name
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(rgb_of(image, "one")), np.asarray(read_image(path)))


def test_a_profile_of_a_rotated_jpeg_or_a_transparent_palette_counts(tmp_path: Path) -> None:
    exif, profile = Image.Exif(), profile_of("ProPhoto")
    exif[0x0112] = 6
    LESION.save(tmp_path / "a.jpg", exif=exif, icc_profile=profile, quality=100, subsampling=0)
    expected = np.rot90(in_srgb(PIXELS, "ProPhoto"), -1)
    assert np.abs(np.asarray(read_image(tmp_path / "a.jpg")) - expected).mean() < 2
    clear = Image.new("P", (40, 40), 0)
    clear.putpalette([200, 90, 80, 0, 0, 255])
    clear.paste(1, (20, 0, 40, 40))
    clear.save(tmp_path / "b.png", transparency=1, icc_profile=profile)
    read = read_image(tmp_path / "b.png")
    assert read.getpixel((30, 5)) == (255, 255, 255)
    assert read.getpixel((5, 5)) == pytest.approx(in_srgb(np.array([200, 90, 80]), "ProPhoto"), abs=2)


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        profile_of("ProPhoto")[:150],
        profile_of("ProPhoto").replace(b"RGB ", b"CMYK"),
        profile_of("ProPhoto") + bytes(5_000_000),
    ],
)
def test_a_damaged_profile_is_ignored(tmp_path: Path, profile: bytes) -> None:
    LESION.save(tmp_path / "a.webp", icc_profile=profile, lossless=True)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.webp")), PIXELS)
    assert stored_kind(tmp_path / "a.webp")[2] == "damaged"


def test_srgb_changes_no_pixel(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode in ("RGB", "L"):
        LESION.convert(mode).save(tmp_path / "a.png", icc_profile=srgb)
        expected = np.asarray(LESION.convert(mode).convert("RGB"))
        assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), expected)
        assert stored_kind(tmp_path / "a.png")[2] == ""


def test_threads_convert_equally(tmp_path: Path) -> None:
    paths = []
    for number, name in enumerate(list(SPACES) * 8):
        paths.append(tmp_path / f"{number}.png")
        draw_lesion("synthetic ring", number % 3).save(paths[-1], icc_profile=profile_of(name))
    alone = [np.asarray(read_image(path)) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(alone, pool.map(read_image, paths), strict=True):
            assert np.array_equal(one, np.asarray(other))


def test_the_largest_page_of_a_tiff_is_taken(tmp_path: Path) -> None:
    small, mask = LESION.resize((40, 30)), Image.new("L", (60, 60))
    path = tmp_path / "a.tif"
    small.save(path, save_all=True, append_images=[LESION, mask, LESION.rotate(180)])
    assert np.array_equal(np.asarray(read_image(path)), PIXELS)
    assert upright_size(path) == stored_kind(path)[0] == LESION.size
    with path.open("rb") as file:
        assert read_image(path, file=file).size == LESION.size
    # A damaged page after the first is none.
    LESION.save(tmp_path / "b.tif", save_all=True, append_images=[small])
    content = bytearray((tmp_path / "b.tif").read_bytes())
    with Image.open(tmp_path / "b.tif") as image:
        image.seek(1)
        second = image._frame_pos[1]
    content[second : second + 2] = b"\xff\xff"
    (tmp_path / "b.tif").write_bytes(content)
    assert np.array_equal(np.asarray(read_image(tmp_path / "b.tif")), PIXELS)
