"""Reading photographs, and the exact pixels that the model sees of them.

Only Pillow and numpy: these functions run in worker processes and threads, and without torch.
"""

import math
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.files import fault_of
from skinlesion_cli.common.limits import MAX_IMAGE_BYTES
from skinlesion_cli.common.settings import RESIZE_RATIO
from skinlesion_cli.common.text import shortened

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""All that is ever decoded, whatever a file's name. Pillow knows forty more, among them PostScript, for which
it starts another program."""

# What no photograph of skin is, and what would take memory without bound: a picture of this size takes
# 2 GB at most, in whatever format it comes. Cameras of 100 megapixels are let through.
MIN_SIDE = 8
MAX_PIXELS = 120_000_000
MAX_ASPECT = 20
LARGE_PIXELS = 30_000_000
"""Larger pictures are decoded one at a time in a process, however many threads read."""
ROWS_AT_ONCE = 512
"""Of a transparent picture, laid on white in strips so that no second copy of it is made."""

_TILE = (322, 323)
"""TIFF's tags of the width and the length of a tile."""

_ONE_LARGE = threading.RLock()


def has_image_suffix(path: Path) -> bool:
    """Whether the name says that the file is an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path, *, shorter: int | None = None, file: BinaryIO | None = None) -> Image.Image:
    """Read a photograph as 8-bit RGB, upright.

    EXIF orientation is applied; CMYK and greyscale are converted; 16-bit greys keep their upper 8 bits;
    transparency is laid on white; of an animation the first frame is taken.

    Args:
        path: the file.
        shorter: a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as its shorter
            side keeps this length: much faster for large photographs.
        file: the file, where it is open already.

    Raises:
        UnreadableImageError: no image, cut short, too small, too large or too narrow for a photograph.
    """
    with _named_faults(path), _opened(path, file) as image:
        if shorter is not None:
            image.draft(None, (shorter, shorter))
        with _ONE_LARGE if image.width * image.height > LARGE_PIXELS else nullcontext():
            image.load()
            return _upright_rgb(image)


def upright_size(path: Path, *, shorter: int | None = None, file: BinaryIO | None = None) -> tuple[int, int]:
    """Width and height of a photograph as `read_image` gives it, from its head alone.

    Raises:
        UnreadableImageError: the head is no head of a readable image.
    """
    with _named_faults(path), _opened(path, file) as image:
        if shorter is not None:
            image.draft(None, (shorter, shorter))
        width, height = image.size
        if isinstance(image, TiffImageFile):
            # Pillow turns the size of a TIFF, and of no other, before it turns the pixels.
            width, height = image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
        lies_on_its_side = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (height, width) if lies_on_its_side else (width, height)


def check_image(path: Path) -> None:
    """Read only the head of a file, at a small fraction of the cost of its pixels.

    Finds files that are no images or of an impossible size, not ones that are cut short.

    Raises:
        UnreadableImageError: the head is no head of a readable image.
    """
    with _named_faults(path), _opened(path):
        pass


def stored_kind(path: Path) -> tuple[tuple[int, int], str]:
    """Width and height as stored, and Pillow's name of the pixels' kind (RGB, L, CMYK, …), from the head.

    Raises:
        UnreadableImageError: the head is no head of a readable image.
    """
    with _named_faults(path), _opened(path) as image:
        return image.size, image.mode


def check_images(paths: Iterable[Path]) -> None:
    """`check_image` for many files, naming all that fail.

    Raises:
        UnreadableImageError: one or more are not readable.
    """
    faults = []
    for path in paths:
        try:
            check_image(path)
        except UnreadableImageError as error:
            faults.append(str(error))
    if faults:
        more = "" if len(faults) == 1 else f" ({len(faults)} such files in all)"
        raise UnreadableImageError("; ".join(faults[:20]) + f"{more}: mend or remove them")


@contextmanager
def _named_faults(path: Path) -> Iterator[None]:
    try:
        with _quiet:
            yield
    # Pillow's decoders raise many types on damaged files, SyntaxError, struct.error and ValueError among
    # them; what all have in common is that this file cannot be read.
    except Exception as error:
        raise UnreadableImageError(f"cannot read {path}: {_reason(error)}") from None


class _Quiet:
    """While any thread reads, Pillow's warnings are ignored.

    They are of odd metadata, which no pixel depends on, and of sizes, which are checked here. Filters of
    warnings belong to the whole process, so the first that enters sets one and the last that leaves takes it
    away.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._filters = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_quiet = _Quiet()


def _opened(path: Path, file: BinaryIO | None = None) -> Image.Image:
    # Before it is opened: a pipe or a device would keep the reader waiting.
    if fault := fault_of(path, MAX_IMAGE_BYTES):
        raise ValueError(fault)
    image = Image.open(file or path, formats=FORMATS)
    if problem := _problem(image):
        image.close()
        raise ValueError(f"{image.width}×{image.height} pixels, {problem}")
    return image


def _problem(image: Image.Image) -> str:
    """Why a picture of this size is not decoded; an empty text where it may be."""
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        return f"too small to be a photograph (each side needs {MIN_SIDE})"
    if width * height > MAX_PIXELS:
        return f"more than {MAX_PIXELS:,}"
    if max(width, height) > MAX_ASPECT * min(width, height):
        return f"too narrow to be a photograph (1 : {MAX_ASPECT} at most)"
    # A tile is decoded whole, however little of it lies in the picture.
    if isinstance(image, TiffImageFile) and math.prod(image.tag_v2.get(tag, 0) for tag in _TILE) > MAX_PIXELS:
        return f"in tiles of more than {MAX_PIXELS:,}"
    return ""


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is not an image of a known kind ({', '.join(FORMATS)})"
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return shortened(str(text), 200)


def _upright_rgb(image: Image.Image) -> Image.Image:
    depth_is_16 = image.format == "PNG"
    ImageOps.exif_transpose(image, in_place=True)
    # Some versions of Pillow open a 16-bit PNG as "I"; elsewhere "I" is 32 bits of any range.
    if image.mode.startswith("I;16") or (image.mode == "I" and depth_is_16):
        # Pillow's own conversion clips at 255 and turns a 16-bit photograph white.
        image = Image.fromarray(np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no known range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        return _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    opaque = Image.new("RGB", image.size)
    for top in range(0, image.height, ROWS_AT_ONCE):
        strip = image.crop((0, top, image.width, min(top + ROWS_AT_ONCE, image.height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        opaque.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return opaque


@dataclass(frozen=True)
class Frame:
    """A rectangle in a picture's own pixels; edges may lie between pixels, or outside a small picture."""

    left: float
    top: float
    right: float
    bottom: float


def resize_side(img_size: int) -> int:
    """Length that the shorter side is resized to before the centre crop: round(1.14 × img_size)."""
    return round(RESIZE_RATIO * img_size)


def centre_crop(image: Image.Image, img_size: int) -> Image.Image:
    """Evaluation's view: shorter side to `resize_side` (bilinear, antialiased), then the centre square.

    Equal to torchvision's Resize and CenterCrop on the same picture, to the bit.

    Args:
        image: RGB, any size.
        img_size: side of the result in pixels.
    """
    width, height = _resized(image.size, resize_side(img_size))
    left, top = _offset(width, img_size), _offset(height, img_size)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + img_size, top + img_size))


def centre_frame(size: tuple[int, int], img_size: int) -> Frame:
    """Where the pixels of `centre_crop` come from, in a picture of `size` (width, height)."""
    width, height = _resized(size, resize_side(img_size))
    scale_x, scale_y = size[0] / width, size[1] / height
    left, top = _offset(width, img_size), _offset(height, img_size)
    return Frame(left * scale_x, top * scale_y, (left + img_size) * scale_x, (top + img_size) * scale_y)


def _resized(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    width, height = size
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def _offset(length: int, crop: int) -> int:
    return round((length - crop) / 2.0)
