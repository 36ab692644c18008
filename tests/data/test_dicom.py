"""DICOM files of one frame, written by pydicom, of every kind of pixels."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.data import images
from skinlesion_cli.data.images import read_image, stored_kind, upright_size
from skinlesion_cli.data.suffixes import IMAGE_SUFFIXES
from tests.support.encoders import dicom, needs_dicom
from tests.support.icc import in_srgb, profile_of

LESION = draw_lesion("synthetic blotch", 5)
COLOURS = np.asarray(LESION)
GREYS = np.asarray(LESION.convert("L"))
DEEP = GREYS.astype(np.uint16) * 16 + 7


def read(folder: Path, pixels: np.ndarray, kind: str, bits: int = 8, **options: Any) -> np.ndarray:
    path = folder / "lesion.dcm"
    path.write_bytes(dicom(pixels, kind, bits, **options))
    image = read_image(path)
    assert image.mode == "RGB"
    assert image.size == upright_size(path) == (pixels.shape[1], pixels.shape[0])
    assert stored_kind(path)[1] == ("L" if "MONO" in kind else "RGB")
    return np.asarray(image).astype(int)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@needs_dicom
@pytest.mark.parametrize(
    ("kind", "options", "most"),
    [
        ("RGB", {}, 0),
        ("RGB", {"syntax": "RLELossless"}, 0),
        ("YBR_FULL_422", {"syntax": "JPEGBaseline8Bit", "frame": encoded(LESION, "JPEG", quality=95)}, 3),
        ("YBR_RCT", {"syntax": "JPEG2000Lossless", "frame": encoded(LESION, "JPEG2000", no_jp2=True)}, 0),
    ],
)
def test_colours_are_as_they_were(kind: str, options: dict[str, Any], most: int, tmp_path: Path) -> None:
    assert np.abs(read(tmp_path, COLOURS, kind, **options) - COLOURS).mean() <= most


@needs_dicom
def test_luminance_and_chrominance_become_rgb(tmp_path: Path) -> None:
    converted = np.asarray(LESION.convert("YCbCr"))
    assert np.abs(read(tmp_path, converted, "YBR_FULL") - COLOURS).max() <= 2


@needs_dicom
@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_gives_its_colours(bits: int, tmp_path: Path) -> None:
    names, step = ("Red", "Green", "Blue"), 257 if bits == 16 else 1
    tables = {name: (np.arange(256) * (number + 1) % 256) for number, name in enumerate(names)}
    kind = np.uint16 if bits == 16 else np.uint8
    elements: dict[str, Any] = {
        f"{name}PaletteColorLookupTableData": (table * step).astype(kind).tobytes()
        for name, table in tables.items()
    }
    elements |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, bits] for name in names}
    found = read(tmp_path, GREYS, "PALETTE COLOR", **elements)
    assert np.array_equal(found, np.stack([tables[name][GREYS] for name in names], axis=-1))


@needs_dicom
def test_the_polarity_is_that_of_the_photometric_interpretation(tmp_path: Path) -> None:
    white_is_high = read(tmp_path, DEEP, "MONOCHROME2", 12)
    assert np.abs(white_is_high[:, :, 0] - DEEP / 4095 * 255).max() <= 0.5
    assert np.array_equal(read(tmp_path, DEEP, "MONOCHROME1", 12), 255 - white_is_high)
    assert np.array_equal(read(tmp_path, GREYS, "MONOCHROME2")[:, :, 1], GREYS)
    # 12 bits in 16, and nothing says so.
    assert np.array_equal(read(tmp_path, DEEP, "MONOCHROME2", 16), white_is_high)


@needs_dicom
def test_signed_values_are_centred(tmp_path: Path) -> None:
    values = np.linspace(-2048, 2047, 100 * 100).reshape(100, 100).astype(np.int16)
    found = read(tmp_path, values, "MONOCHROME2", 12)[:, :, 0]
    assert np.abs(found - (values + 2048) / 4095 * 255).max() <= 0.5


@needs_dicom
@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_the_standard(function: str | None, tmp_path: Path) -> None:
    """Against pydicom's own windowing, which is in the units of its output."""
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    window: dict[str, Any] = {"WindowCenter": [2500, 10], "WindowWidth": [2000, 10]}
    window |= {"RescaleSlope": 1.5, "RescaleIntercept": -300}
    window |= {"VOILUTFunction": function} if function else {}
    found = read(tmp_path, DEEP, "MONOCHROME2", 12, **window)[:, :, 0]
    dataset = dcmread(tmp_path / "lesion.dcm")
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    expected = (shown + 300) / (4095 * 1.5) * 255
    assert np.abs(found - expected).max() <= 1
    assert np.ptp(found) > 100
    # A falling slope turns the values round, with a window and without.
    down = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    found = read(tmp_path, DEEP, "MONOCHROME2", 12, **down)
    assert np.abs(found - (255 - read(tmp_path, DEEP, "MONOCHROME2", 12))).max() <= 1
    found = read(tmp_path, DEEP, "MONOCHROME2", 12, **down, WindowCenter=2048, WindowWidth=4096)
    assert np.abs(found - (255 - read(tmp_path, DEEP, "MONOCHROME2", 12))).max() <= 1


@needs_dicom
def test_a_table_of_interest_is_applied(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.LUTData = (65535 - 257 * np.arange(256)).astype("<u2").tobytes()
    found = read(tmp_path, GREYS, "MONOCHROME2", VOILUTSequence=[table])
    assert np.array_equal(found[:, :, 0], 255 - GREYS.astype(int))


@needs_dicom
def test_a_profile_is_converted(tmp_path: Path) -> None:
    found = read(tmp_path, COLOURS, "RGB", ICCProfile=profile_of("Display P3"))
    assert np.abs(found - in_srgb(COLOURS.astype(float), "Display P3")).mean() < 1.5


@needs_dicom
@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"NumberOfFrames": 3}, "it has 3 frames; save the one"),
        ({"PixelData": None}, "without pixels"),
        ({"Rows": None}, "without an image"),
        ({"WindowCenter": 9, "WindowWidth": 0}, "its window is invalid"),
        ({"PhotometricInterpretation": "CMYK"}, "CMYK"),
        ({"Rows": 60000, "Columns": 60000}, "60000×60000 pixels, more than"),
        ({"Rows": 300}, "lesion"),
    ],
)
def test_what_has_no_single_picture_is_refused_in_one_line(
    elements: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "lesion.dcm"
    path.write_bytes(dicom(GREYS, "MONOCHROME2", **elements))
    with pytest.raises(UnreadableImageError, match=r"^cannot read [^\n]*lesion\.dcm: [^\n]+$") as raised:
        read_image(path)
    assert reason in str(raised.value)


@needs_dicom
def test_compressions_that_are_not_decoded_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zlib

    from skinlesion_cli.data import dicom as reader

    path = tmp_path / "lesion.dcm"
    path.write_bytes(dicom(GREYS, "MONOCHROME2", syntax="JPEGLosslessSV1", frame=b"\xff\xd8\xff\xc3"))
    for look in (read_image, upright_size):
        with pytest.raises(UnreadableImageError, match=r"compressed as JPEG Lossless.*decompress it first"):
            look(path)
    # Compressed as a whole: a small file may become any size.
    content = dicom(GREYS, "MONOCHROME2")
    marked = content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1)
    assert len(marked) == len(content) + 2
    packed = zlib.compress(bytes(1 << 20))
    path.write_bytes(
        marked.replace(b"UI\x14\x001.2.840.10008.1.2.1.99", b"UI\x16\x001.2.840.10008.1.2.1.99") + packed
    )
    with pytest.raises(UnreadableImageError, match="a deflated DICOM is not read"):
        read_image(path)
    monkeypatch.setattr(reader, "MAX_RLE_BYTES", 1000)
    path.write_bytes(dicom(GREYS, "MONOCHROME2", syntax="RLELossless"))
    with pytest.raises(UnreadableImageError, match="run-length encoded"):
        read_image(path)


@needs_dicom
def test_a_large_dicom_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lesion.dcm"
    path.write_bytes(dicom(GREYS, "MONOCHROME2"))
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    with pytest.raises(UnreadableImageError, match="203×170 pixels, more than 1,000"):
        read_image(path)


def test_without_the_package_the_file_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    path = tmp_path / "lesion.DCM"
    path.write_bytes(bytes(128) + b"DICM" + bytes(300))
    assert path.suffix.lower() in IMAGE_SUFFIXES
    with pytest.raises(UnreadableImageError) as raised:
        upright_size(path)
    assert str(raised.value) == f"cannot read {path}: pydicom is needed to read DICOM: pip install pydicom"
