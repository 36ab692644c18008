"""Files named like photographs that wait, lie about their size, or hold what is none."""

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.data import images
from skinlesion_cli.data.find_images import find_images
from skinlesion_cli.data.images import read_image, stored_kind, upright_size
from skinlesion_cli.data.splits import read_split
from tests.models.test_weight_files import Peak

READS: list[Callable[[Path], object]] = [
    read_image,
    upright_size,
    stored_kind,
    lambda path: read_image(path, shorter=64),
    lambda path: upright_size(path, shorter=64),
]


@pytest.fixture
def small_memory() -> Peak:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not tell the peak of a process's memory")
    return Peak()


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *others: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(64 * (1 + 3 * 64)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(others) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def gif(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (64, 64)).save(buffer, "GIF")
    data = bytearray(buffer.getvalue())
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def gif_with_a_larger_frame() -> bytes:
    data = bytearray(gif(64, 64))
    at = data.index(b",", 13 + 3 * (2 << (data[10] & 7)))
    data[at + 5 : at + 9] = struct.pack("<HH", 40_000, 40_000)
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head + bytes(100)


def tiff(width: int, height: int, tile: int = 0) -> bytes:
    body = zlib.compress(bytes(64 * 64))
    tags = [(256, width), (257, height), (258, 8), (259, 8), (262, 1), (277, 1)]
    place = 8 + 2 + 12 * (len(tags) + (4 if tile else 3)) + 4
    if tile:
        tags += [(322, tile), (323, tile), (324, place), (325, len(body))]
    else:
        tags += [(273, place), (278, height), (279, len(body))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + body


def webp(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "WEBP", lossless=True)
    data = bytearray(buffer.getvalue())
    at = data.index(b"VP8L") + 9  # 14 bits for each side, less 1
    flags = int.from_bytes(data[at : at + 4], "little") >> 28 << 28
    data[at : at + 4] = (flags | (height - 1) << 14 | (width - 1)).to_bytes(4, "little")
    return bytes(data)


BOMBS = {
    "a.png": png(40_000, 40_000),
    "a.jpg": jpeg(40_000, 40_000),
    "a.gif": gif(40_000, 40_000),
    "frame.gif": gif_with_a_larger_frame(),
    "a.bmp": bmp(40_000, 40_000),
    "a.tif": tiff(40_000, 40_000),
    "tile.tif": tiff(64, 64, tile=40_000),
    "a.webp": webp(16_000, 16_000),
    # The name says nothing: what is inside counts.
    "other.jpg": png(40_000, 40_000),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("read", READS, ids=["read", "size", "kind", "draft", "draft size"])
def test_a_tiny_file_of_a_huge_picture_is_refused_before_it_is_decoded(
    tmp_path: Path, small_memory: Peak, name: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    assert path.stat().st_size < 5000
    with small_memory, pytest.raises(UnreadableImageError, match=r"more than 120,000,000|cannot read"):
        read(path)
    assert small_memory.grown < 50


@pytest.mark.parametrize(
    "content",
    [*(make(12_000, 11_000) for make in (png, jpeg, gif, bmp, tiff, webp)), tiff(64, 64, tile=12_000)],
    ids=["png", "jpeg", "gif", "bmp", "tiff", "webp", "tile"],
)
def test_the_limit_is_our_own_and_below_pillows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"pixels, (in tiles of )?more than 120,000,000"):
        stored_kind(path)


def test_beyond_pillows_own_limit_ours_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(40_000, 40_000))
    with pytest.raises(
        UnreadableImageError, match=r"it has more than 120,000,000 pixels, the limit in docs/safety"
    ):
        stored_kind(path)


def test_the_limit_stands_before_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.jpg", draw_lesion("synthetic ring", 1))
    loads = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: loads.append(image) or load(image))
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    for shorter in (None, 16):
        with pytest.raises(UnreadableImageError, match="more than 100"):
            read_image(path, shorter=shorter)
    assert loads == []
    monkeypatch.undo()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_swells_is_refused(tmp_path: Path, small_memory: Peak, kind: bytes) -> None:
    swollen = zlib.compress(bytes(50 << 20))
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\x01\0\0\0", b"iCCP": b"k\0\0"}[kind]
    path = tmp_path / "a.png"
    path.write_bytes(png(64, 64, chunk(kind, head + swollen)))
    with small_memory, pytest.raises(UnreadableImageError, match="too large"):
        read_image(path)
    assert small_memory.grown < 50


def test_of_many_frames_the_first_alone_is_decoded(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), (shade, 0, 0)) for shade in range(200)]
    for name in ("a.gif", "a.tif", "a.webp", "a.png"):
        path = saved(tmp_path / name, frames[7], save_all=True, append_images=frames)
        red, green, blue = read_image(path).getpixel((3, 3))  # type: ignore[misc]
        assert (abs(red - 7) <= 4, green, blue) == (True, 0, 0)


@pytest.mark.parametrize("read", READS, ids=["read", "size", "kind", "draft", "draft size"])
def test_a_pipe_or_a_device_named_like_a_photograph_is_not_waited_for(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "device.jpg"):
        faults: list[str] = []

        def look(path: Path = tmp_path / name, faults: list[str] = faults) -> None:
            with pytest.raises(UnreadableImageError) as caught:
                read(path)
            faults.append(str(caught.value))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(10)
        assert faults == [f"cannot read {tmp_path / name}: it is not a regular file"]


def test_folders_and_links_in_circles_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    for name, reason in (
        ("folder.jpg", "it is a folder"),
        ("circle.jpg", "Too many levels of symbolic links"),
        ("gone.jpg", "no such file"),
        ("x" * 300 + ".jpg", "File name too long"),
        ("nul\0.jpg", "null"),
    ):
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(tmp_path / name)


def test_folders_that_hold_themselves_are_listed_once(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    saved(folder / "1.png", Image.new("RGB", (32, 32)))
    (folder / "again").symlink_to(folder)
    (folder / "up").symlink_to(tmp_path)
    assert read_split(tmp_path, "train").counts == {"a": 1}
    assert find_images([str(tmp_path)]) == [folder / "1.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_must_not_be_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    path = saved(folder / "1.png", Image.new("RGB", (32, 32)))
    path.chmod(0)
    with pytest.raises(UnreadableImageError, match="Permission denied"):
        read_image(path)
    folder.chmod(0)
    try:
        with pytest.raises(InputError, match=r"cannot list .*Permission denied"):
            read_split(tmp_path, "train")
    finally:
        folder.chmod(0o700)


def test_an_argument_that_can_be_no_name_is_refused() -> None:
    with pytest.raises(InputError, match="there is no file xxx"):
        find_images(["x" * 5000])


def test_what_pillow_would_run_another_program_for_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n")
    with Image.open(path) as image:
        assert image.format == "EPS"  # Pillow by itself takes it
    with pytest.raises(UnreadableImageError, match="it is not an image in a known format"):
        read_image(path)


@pytest.mark.filterwarnings("default")
def test_odd_metadata_is_read_without_a_warning_in_threads(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 100
    path = saved(tmp_path / "a.jpg", draw_lesion("synthetic ring", 1), exif=exif)
    data = path.read_bytes()
    at = data.index(b"x" * 100)
    path.write_bytes(data[: at - 30] + data[at - 30 : at].replace(b"e\0\0\0", b"e\xff\xff\0") + data[at:])
    with warnings.catch_warnings(record=True) as plain:
        warnings.simplefilter("always")
        Image.open(path).getexif()
    assert plain, "Pillow itself warns of this file"
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=lambda: [read_image(path) for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert warned == []
    assert list(warnings.filters) == before


def test_transparency_in_strips_is_laid_on_white_as_in_one_piece() -> None:
    random = np.random.default_rng(0)
    for picture in (
        Image.fromarray(random.integers(0, 256, (1300, 20, 4), np.uint8)),
        Image.fromarray(random.integers(0, 256, (1300, 20, 2), np.uint8)),
        Image.fromarray(random.integers(0, 256, (1300, 20), np.uint8)).convert("P"),
    ):
        if picture.mode == "P":
            picture.info["transparency"] = bytes(range(256))
        full = picture.convert("RGBA")
        expected = Image.alpha_composite(Image.new("RGBA", full.size, "white"), full).convert("RGB")
        assert np.array_equal(np.asarray(images._on_white(picture)), np.asarray(expected))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8, 9, 60_000])
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png", "webp"])
def test_the_size_from_the_head_is_that_of_the_picture(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", Image.new("RGB", (40, 30)), exif=exif)
    assert upright_size(path) == read_image(path).size
