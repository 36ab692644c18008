from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.data import images
from skinlesion_cli.data.images import check_images, read_image, rgb_of, upright_size

LESION = draw_lesion("synthetic blotch", 5)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    path = saved(tmp_path / "turned.jpg", LESION, exif=exif, quality=95)
    upright = read_image(path)
    assert upright.size == (LESION.height, LESION.width)
    expected = np.asarray(LESION.rotate(-90, expand=True)).astype(int)
    assert np.abs(np.asarray(upright).astype(int) - expected).mean() < 3


def test_16_bit_greys_keep_their_upper_bits(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    read = np.asarray(read_image(saved(tmp_path / "deep.png", Image.fromarray(grey))))
    assert np.array_equal(read[:, :, 0], grey >> 8)
    assert np.array_equal(read[:, :, 0], read[:, :, 2])


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_greys_of_a_tiff_have_the_polarity_that_it_says(
    bits: int, compression: str | None, tmp_path: Path
) -> None:
    grey = np.linspace(0, 2**bits - 1, 64 * 64).reshape(64, 64).astype(np.uint8 if bits == 8 else np.uint16)
    for white, photometric in ((0, 1), (255, 0)):
        options = {"tiffinfo": {262: photometric}, "compression": compression}
        # Pillow writes 8-bit greys inverted where the file says that 0 is white.
        stored = 255 - grey if bits == 8 and photometric == 0 else grey
        read = np.asarray(read_image(saved(tmp_path / "grey.tif", Image.fromarray(stored), **options)))
        assert np.array_equal(read[:, :, 0], np.abs(white - (grey >> (bits - 8)).astype(int)))


def test_a_transparent_palette_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (20, 0, 40, 40))
    read = read_image(saved(tmp_path / "palette.png", image, transparency=0))
    assert read.getpixel((5, 5)) == (255, 255, 255)
    assert read.getpixel((30, 5)) == (0, 0, 255)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    read = read_image(saved(tmp_path / "print.jpg", LESION.convert("CMYK"), quality=95))
    assert read.mode == "RGB"
    assert np.abs(np.asarray(read).astype(int) - np.asarray(LESION)).mean() < 4


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    path = tmp_path / "moving.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert read_image(path).getpixel((3, 3)) == (255, 0, 0)


def test_greys_become_rgb(tmp_path: Path) -> None:
    read = read_image(saved(tmp_path / "grey.jpg", LESION.convert("L")))
    assert read.mode == "RGB"


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "whole.jpg", LESION)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=r"cut\.jpg.*truncated"):
        read_image(cut)


def test_a_text_file_named_jpg_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.jpg"
    path.write_text("not a picture", encoding="utf-8")
    with pytest.raises(UnreadableImageError, match=r"text\.jpg: it is not an image"):
        read_image(path)
    with pytest.raises(UnreadableImageError, match="no such file"):
        read_image(tmp_path / "absent.jpg")


@pytest.mark.parametrize(("size", "reason"), [((1, 1), "too small"), ((2000, 10), "too narrow")])
def test_a_file_that_is_not_a_photograph_is_named(tmp_path: Path, size: tuple[int, int], reason: str) -> None:
    path = saved(tmp_path / "odd.png", Image.new("RGB", size))
    with pytest.raises(UnreadableImageError, match=reason):
        read_image(path)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path / "wide.tif", LESION.convert("L").convert(mode))
    with pytest.raises(UnreadableImageError, match="no known range"):
        read_image(path)


def test_a_huge_picture_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "large.png", Image.new("1", (1000, 1000)))
    monkeypatch.setattr(images, "MAX_PIXELS", 999_999)
    with pytest.raises(UnreadableImageError, match="1000×1000 pixels, more than 999,999"):
        read_image(path)


def test_every_bad_file_is_named_at_once(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.jpg", LESION)
    bad = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for path in bad:
        path.write_bytes(b"")
    check_images([good])
    with pytest.raises(UnreadableImageError, match=r"a\.jpg.*b\.jpg.*2 such files"):
        check_images([bad[0], good, bad[1]])


@pytest.mark.parametrize(
    "broken", [b"\0\x08\0\x02\x01\x12\0\x03", b"", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\x09"]
)
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_broken_exif_is_ignored(tmp_path: Path, suffix: str, broken: bytes) -> None:
    path = saved(tmp_path / f"a.{suffix}", Image.new("RGB", (40, 30), "red"), exif=b"Exif\0\0" + broken)
    assert upright_size(path) == read_image(path).size == (40, 30)
    assert read_image(path).getpixel((9, 9)) == pytest.approx((255, 0, 0), abs=3)
    if suffix != "jpg":
        # Of a JPEG, Pillow warns when it is opened.
        with Image.open(path) as image:
            assert rgb_of(image, "one").size == (40, 30)
