"""Image files for fuzzing: how to read one, valid files of every format, and the tokens of the formats."""

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.data.images import read_image, stored_kind, upright_size
from tests.support.encoders import DICOM, HEIC, avif, dicom, heic, turned
from tests.support.icc import profile_of

TOKENS = {
    "JPEG": r"\xff\xd8 \xff\xc0\0\x11\x08\xff\xff \xff\xdb \xff\xc4 \xff\xda \xff\xe1 Exif\0\0 \xff\xe2MPF\0",
    "PNG": "IHDR IDAT PLTE tRNS iCCP zTXt iTXt acTL fcTL fdAT eXIf",
    "TIFF": r"II*\0 MM\0* II+\0 \x42\x01 \x44\x01 \x15\x01 \x03\x01",
    "WEBP": "RIFF WEBP VP8L VP8X ANIM ANMF ALPH EXIF",
    "GIF": r"GIF89a !\xf9\x04 , ; !\xff\x0bNETSCAPE2.0",
    "BMP": r"BM \x28\0\0\0 \x7c\0\0\0 \x0c\0\0\0 \x01\0\x08\0",
    "AVIF": "ftyp avif avis mif1 meta iloc iinf iprp ipco ispe av1C irot colr Exif grid mdat",
    **(
        {"HEIF": "ftyp heic mif1 meta iloc iinf iprp ipco ispe hvcC irot colr Exif grid mdat"} if HEIC else {}
    ),
    **(
        {"DICOM": r"DICM \x28\0\x10\0 \x28\0\x11\0 \xe0\x7f\x10\0 \xfe\xff\0\xe0 SQ OB UN US"}
        if DICOM
        else {}
    ),
}
"""By format, separated by spaces, with the escapes of a Python bytes literal."""


def check_image(path: Path) -> None:
    """Read an image file in every way that the package does; the results must agree."""
    size = upright_size(path)
    stored_kind(path)
    small = upright_size(path, shorter=16)
    assert read_image(path, shorter=16).size == small
    image = read_image(path)
    assert image.mode == "RGB"
    assert image.size == size


def image_seeds(kind: str) -> list[bytes]:
    """Small drawn images in the variants of a format: colour modes, compressions, metadata, frames."""
    lesion = draw_lesion("synthetic ring", 1).resize((40, 30))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 300, zip=True)
    text.add_itxt("Title", "y" * 50, zip=True)
    saves: dict[str, list[tuple[Image.Image, dict[str, object]]]] = {
        "JPEG": [
            (lesion, {"exif": exif}),
            (lesion, {"progressive": True, "comment": b"words"}),
            (lesion.convert("L"), {}),
            (lesion.convert("CMYK"), {}),
            (lesion, {"icc_profile": profile_of("Display P3")}),
        ],
        "PNG": [
            (lesion, {"pnginfo": text, "exif": exif, "icc_profile": b"\0" * 200}),
            (lesion.convert("RGBA"), {}),
            (lesion.convert("P"), {"transparency": 3}),
            (Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)), {}),
            (lesion, {"save_all": True, "append_images": [lesion.rotate(90)]}),
        ],
        "TIFF": [
            (lesion, {}),
            (lesion, {"compression": "tiff_lzw", "exif": exif}),
            (lesion, {"compression": "tiff_deflate"}),
            (lesion, {"save_all": True, "append_images": [lesion.resize((60, 45))]}),
            (lesion, {"compression": "jpeg"}),
            (lesion.convert("1"), {"compression": "group4"}),
            (lesion, {"save_all": True, "append_images": [lesion]}),
            (lesion, {"big_tiff": True}),
        ],
        "WEBP": [
            (lesion, {"exif": exif}),
            (lesion.convert("RGBA"), {"lossless": True}),
            (lesion, {"save_all": True, "append_images": [lesion.rotate(90)]}),
        ],
        "GIF": [
            (lesion, {}),
            (lesion, {"save_all": True, "append_images": [lesion.rotate(9)], "transparency": 1}),
        ],
        "BMP": [(lesion, {}), (lesion.convert("P"), {}), (lesion.convert("1"), {})],
    }
    if kind == "AVIF":
        return [
            avif(lesion, exif=turned(6)),
            avif(lesion.convert("RGBA"), icc_profile=profile_of("Display P3")),
        ]
    if kind == "HEIF":
        return [
            heic(lesion, exif=turned(6)),
            heic(lesion.convert("RGBA"), icc_profile=profile_of("Display P3")),
        ]
    if kind == "DICOM":
        return _dicoms(lesion)
    files = []
    for image, options in saves[kind]:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        files.append(buffer.getvalue())
    return files


def _dicoms(lesion: Image.Image) -> list[bytes]:
    colours, greys = np.asarray(lesion), np.asarray(lesion.convert("L"))
    encoded = io.BytesIO()
    lesion.save(encoded, "JPEG")
    lut = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 8] for name in ("Red", "Green", "Blue")}
    lut |= {f"{name}PaletteColorLookupTableData": bytes(range(256)) for name in ("Red", "Green", "Blue")}
    return [
        dicom(colours, "RGB", ICCProfile=profile_of("Display P3")),
        dicom(colours, "RGB", syntax="RLELossless"),
        dicom(colours, "YBR_FULL_422", syntax="JPEGBaseline8Bit", frame=encoded.getvalue()),
        dicom(greys.astype(np.uint16) * 16, "MONOCHROME1", 12, WindowCenter=2000, WindowWidth=900),
        dicom(greys, "MONOCHROME2", RescaleSlope=2, RescaleIntercept=-5),
        dicom(greys, "PALETTE COLOR", **lut),
    ]


def with_checksums(data: bytes) -> bytes:
    """A PNG with correct checksums, as far as it still consists of chunks."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        if length > len(data):
            break
        parts += [data[at : at + 4], body, zlib.crc32(body).to_bytes(4, "big")]
        at += 12 + length
    return b"".join(parts) + data[at:]
