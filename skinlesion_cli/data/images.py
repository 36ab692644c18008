"""Reading photographs.

Only Pillow and numpy, no torch: these functions run in worker processes and threads.
"""

import math
import struct
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.AvifImagePlugin import AvifImageFile
from PIL.TiffImagePlugin import TiffImageFile

from skinlesion_cli.common.errors import InputError, UnreadableImageError, one_line
from skinlesion_cli.common.extras import require_modules
from skinlesion_cli.common.files import fault_of
from skinlesion_cli.common.limits import MAX_IMAGE_BYTES
from skinlesion_cli.data.colour import (
    STRIP_ROWS,
    add_lower_bytes,
    as_srgb,
    decode_lower_bytes,
    has_16_bit_colours,
    is_dark,
    profile_name,
    upper_8_bits,
)

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""The formats that Pillow may decode, whatever the file is called. It knows forty more, such as PostScript,
for which it runs another program. AVIF, HEIF and DICOM are recognised separately."""

# Outside these limits, an image is not a photograph of skin, or would take unbounded memory: an image of the
# largest size takes at most 2 GB, in any format. Photographs of 100-megapixel cameras are accepted.
MIN_SIDE = 8
MAX_PIXELS = 120_000_000
MAX_ASPECT = 20
LARGE_PIXELS = 30_000_000
"""Larger images are decoded one at a time per process, however many threads read."""
HEAD_BYTES = 256
"""The first bytes of a file, which determine its format."""
MAX_PAGES = 16
"""Pages of a TIFF that are read; in a malicious file, each can take half a second."""
FAULTS_NAMED = 20

_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_TIFF_TILE_SIZE = (322, 323)
"""The TIFF tags of a tile's width and length."""

_broken_exif = suppress(
    ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError, struct.error
)
"""Damaged EXIF data are ignored, as every viewer does, and as Pillow does in a JPEG."""

_ONE_LARGE = threading.RLock()


def read_image(path: Path, *, shorter: int | None = None, file: BinaryIO | None = None) -> Image.Image:
    """Read a photograph as upright 8-bit RGB; `file` is the same file, if it is open already.

    EXIF orientation is applied; embedded colour profiles are converted to sRGB; CMYK and greyscale become
    RGB; 16-bit pixels keep the upper 8 bits of their depth (`depth_of`); transparency becomes white; the
    first frame of an animation and the largest page of a TIFF are used. A JPEG may be decoded at a half, a
    quarter or an eighth of its size, as long as its shorter side stays at least `shorter`: much faster for
    large photographs. UnreadableImageError if the file is not an image, is truncated, or exceeds the size
    limits.
    """
    with (
        _open(path, file, shorter) as image,
        _ONE_LARGE if image.width * image.height > LARGE_PIXELS else nullcontext(),
    ):
        deep, size = has_16_bit_colours(image), image.size
        image.load()
        if image.format in ("HEIF", "DICOM") and image.size != size:
            raise ValueError("damaged: its pixels do not have the size that its header says")
        if deep and is_dark(image):
            with suppress(UnreadableImageError), _open(path, file) as lower:
                decode_lower_bytes(lower)
                add_lower_bytes(image, lower)
        return _upright_rgb(image)


def rgb_of(image: Image.Image, name: str) -> Image.Image:
    """A copy of an image in memory, converted as by `read_image`; error messages call it `name`."""
    try:
        with _quiet:
            copy = image.copy()
            with _broken_exif:
                # Taken from the original: a copy loses an orientation that was set through `getexif()`.
                copy = ImageOps.exif_transpose(image)
            return _upright_rgb(copy)
    except Exception as error:
        raise UnreadableImageError(f"cannot read {name}: {_reason(error)}") from None


def upright_size(path: Path, *, shorter: int | None = None, file: BinaryIO | None = None) -> tuple[int, int]:
    """Width and height of a photograph as `read_image` returns it, from its header only."""
    with _open(path, file, shorter) as image:
        width, height = image.size
        if isinstance(image, TiffImageFile):
            # Pillow rotates the size of a TIFF, and of no other format, before it rotates the pixels.
            width, height = image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
        rotated = False
        with _broken_exif:
            rotated = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (height, width) if rotated else (width, height)


def stored_kind(path: Path) -> tuple[tuple[int, int], str, str]:
    """Stored width and height, Pillow's name of the pixel format (RGB, L, …), and the `profile_name`."""
    with _open(path) as image:
        return image.size, image.mode, profile_name(image)


def check_images(paths: Iterable[Path]) -> None:
    """Check the headers of files, not for truncation; one UnreadableImageError names all unreadable ones."""
    faults = []
    for path in paths:
        try:
            stored_kind(path)
        except UnreadableImageError as error:
            faults.append(str(error))
    refuse_unreadable(faults)


def refuse_unreadable(faults: Sequence[str]) -> None:
    """Raise one UnreadableImageError for all faults, naming the first `FAULTS_NAMED`; without any, return."""
    if faults:
        more = "" if len(faults) == 1 else f" ({len(faults)} such files in total)"
        raise UnreadableImageError("; ".join(faults[:FAULTS_NAMED]) + f"{more}: repair or remove them")


class _Quiet:
    """Ignores Pillow's warnings while any thread reads.

    They concern odd metadata, which no pixel depends on, and sizes, which are checked here. Warning filters
    apply to the whole process, so the first thread that enters sets one and the last removes it.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._filters = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif|pydicom)\.")

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_quiet = _Quiet()


@contextmanager
def _open(path: Path, file: BinaryIO | None = None, shorter: int | None = None) -> Iterator[Image.Image]:
    """The image, not yet decoded; whatever fails until it is closed becomes an `UnreadableImageError`."""
    try:
        if file is None and (fault := fault_of(path, MAX_IMAGE_BYTES)):
            raise ValueError(fault)
        # Opened once: the format is looked for in the same file.
        with _quiet, nullcontext(file) if file else path.open("rb") as opened, _opened(opened) as image:
            if isinstance(image, TiffImageFile) and (page := _largest_page(opened)):
                image.seek(page)
            if problem := _problem(image):
                kind = _TooLargeError if image.width * image.height > MAX_PIXELS else ValueError
                raise kind(f"{image.width}×{image.height} pixels, {problem}")
            # For HEIF, Pillow would return the thumbnail, which was compressed once more.
            if shorter is not None and image.format != "HEIF":
                image.draft(None, (shorter, shorter))
            yield image
    # Pillow's decoders raise many types for damaged files, such as SyntaxError, struct.error and ValueError.
    except Exception as error:
        raise UnreadableImageError(f"cannot read {path}: {_reason(error)}", _fault(error)) from None


def _opened(file: BinaryIO) -> Image.Image:
    """The image of a file by the package for its format; InputError where that is not installed."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head[128:132] == b"DICM":
        require_modules("pydicom", "to read DICOM")
        from skinlesion_cli.data.dicom import DicomImage

        return DicomImage(file)
    # The kind of a file in this container, or the kinds that it is compatible with.
    brands = head[8 : int.from_bytes(head[:4])] if head[4:8] == b"ftyp" else b""
    if b"avif" in brands or b"avis" in brands:
        return AvifImageFile(file)
    if brands:
        require_modules("pillow_heif", "to read HEIC")
        from pillow_heif import HeifImageFile

        return HeifImageFile(file)  # type: ignore[no-any-return]
    return Image.open(file, formats=FORMATS)


def _largest_page(file: BinaryIO) -> int:
    """The page of a TIFF with the most pixels, the first of several; others are thumbnails or masks."""
    sizes: list[int] = []
    # Opened separately, because a damaged page leaves an image between two pages.
    with Image.open(file, formats=["TIFF"]) as image, suppress(Exception):
        for page in range(MAX_PAGES):
            image.seek(page)
            sizes.append(image.width * image.height)
    return sizes.index(max(sizes)) if sizes else 0


def _problem(image: Image.Image) -> str:
    """Why an image of this size is not decoded; empty where it is."""
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        return f"too small to be a photograph (each side needs {MIN_SIDE})"
    if width * height > MAX_PIXELS:
        return f"more than {MAX_PIXELS:,}"
    if max(width, height) > MAX_ASPECT * min(width, height):
        return f"too narrow to be a photograph (at most 1:{MAX_ASPECT})"
    # A tile is decoded completely, however little of it the image covers.
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    if math.prod(tags.get(tag, 0) for tag in _TIFF_TILE_SIZE) > MAX_PIXELS:
        return f"in tiles of more than {MAX_PIXELS:,}"
    return ""


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is not an image in a known format ({', '.join(FORMATS)}, AVIF, HEIF, DICOM)"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MAX_PIXELS:,} pixels, the limit in docs/safety.md; downscale it first"
    # Some of pydicom's messages end with the text of a traceback.
    return str(getattr(error, "strerror", None) or one_line(error).partition(" Traceback ")[0])


class _TooLargeError(ValueError):
    """An image of more than `MAX_PIXELS`."""


def _fault(error: Exception) -> Literal["damaged", "unknown", "large"]:
    # An InputError says which package for its format is not installed.
    if isinstance(error, UnidentifiedImageError | InputError):
        return "unknown"
    return "large" if isinstance(error, Image.DecompressionBombError | _TooLargeError) else "damaged"


def _upright_rgb(image: Image.Image) -> Image.Image:
    is_png, profile = image.format == "PNG", image.info.get("icc_profile")
    white_is_zero = isinstance(image, TiffImageFile) and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
    with _broken_exif:
        ImageOps.exif_transpose(image, in_place=True)
    # Some versions of Pillow open a 16-bit PNG as "I"; in other formats "I" is 32 bits of any range.
    if image.mode.startswith("I;16") or (image.mode == "I" and is_png):
        # Pillow's conversion clips at 255, which turns a 16-bit photograph white.
        image = Image.fromarray(upper_8_bits(np.clip(np.asarray(image), 0, 65535)))
        # Pillow inverts such greys of 8 bits, and not those of 16.
        image = ImageOps.invert(image) if white_is_zero else image
    elif image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no known range; save the image with 8 or 16 bits")
    if image.has_transparency_data:
        flat = _on_white(image)
        image = flat.convert("L") if image.mode in ("L", "LA", "La") else flat
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return as_srgb(image, profile)


def _on_white(image: Image.Image) -> Image.Image:
    opaque = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        opaque.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return opaque
