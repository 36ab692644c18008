"""The colours of a file as 8-bit sRGB: 16-bit pixels of any depth, and embedded colour profiles (ICC)."""

import io
import sys
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms, ImageFile

from skinlesion_cli.common.text import printable, shortened

DEPTHS = (8, 10, 12, 14, 16)
MAX_PROFILE_BYTES = 4 * 1024 * 1024
"""A larger profile is ignored; those of printers have up to 3 MB."""
SAME = 2
"""Grey levels by which a profile that is called sRGB may differ from it, through rounding."""
DAMAGED = "damaged"
STRIP_ROWS = 512
"""Large images are changed in strips of this height."""

_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def depth_of(largest: int) -> int:
    """The bit depth of 16-bit pixels: the smallest of `DEPTHS` that holds the image's largest value.

    Cameras and scanners store 10, 12 or 14 bits in 16; the upper 8 of the 16 bits would then be nearly black.
    """
    return next(depth for depth in DEPTHS if largest < 2**depth)


def upper_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """16-bit pixels (height, width) as 8-bit ones, by the upper 8 bits of their depth."""
    return np.asarray(values >> (depth_of(int(values.max())) - 8), np.uint8)


def has_16_bit_colours(image: Image.Image) -> bool:
    """Whether Pillow will decode only the upper 8 of 16 bits per channel of an image not loaded yet."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return image.mode in ("RGB", "RGBA") and any(";16" in _raw_mode(tile) for tile in tiles)


def decode_lower_bytes(image: Image.Image) -> None:
    """Decode the lower instead of the upper byte of each channel: as if the byte order were the other one."""
    if isinstance(image, ImageFile.ImageFile):
        for number, tile in enumerate(image.tile):
            mode = _raw_mode(tile)
            swapped = mode[:-1] + _OTHER_BYTE[mode[-1]]
            args = swapped if isinstance(tile.args, str) else (swapped, *(tile.args or ())[1:])
            image.tile[number] = tile._replace(args=args)
    image.load()


def _raw_mode(tile: Any) -> str:
    return tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0])


def is_dark(upper: Image.Image) -> bool:
    """Whether the upper bytes of 16-bit colours hold so little that their depth is 14 bits or less."""
    return _brightest(upper) < 64


def add_lower_bytes(upper: Image.Image, lower: Image.Image) -> None:
    """Convert 16-bit colours to 8 bits, in place; each of the two images has one byte of each channel."""
    shift = depth_of(256 * _brightest(upper)) - 8
    high = [(value << (8 - shift)) & 255 for value in range(256)] * 3
    low = [value >> shift for value in range(256)] * 3
    if "A" in upper.mode:
        high, low = [*high, *range(256)], low + [0] * 256
    # In strips, to avoid copies of a large image.
    for top in range(0, upper.height, STRIP_ROWS):
        box = 0, top, upper.width, min(top + STRIP_ROWS, upper.height)
        upper.paste(ImageChops.add(upper.crop(box).point(high), lower.crop(box).point(low)), box)


def _brightest(image: Image.Image) -> int:
    """The largest value of red, green and blue."""
    return int(np.array(image.getextrema())[:3, 1].max())


def as_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image of mode RGB, L or CMYK as RGB: converted to sRGB if it has a profile, otherwise unchanged."""
    transform = _transform_of(profile, image.mode)[0] if profile else None
    if transform is not None:
        source = image if image.mode == transform.input_mode else image.convert(transform.input_mode)
        converted: Image.Image = transform.apply(source)
        return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def profile_name(image: Image.Image) -> str:
    """The name of the profile that an image is converted from, or `DAMAGED`; empty for none and for sRGB."""
    profile = image.info.get("icc_profile")
    mode = "CMYK" if image.mode == "CMYK" else "L" if image.mode[0] in "1LI" else "RGB"
    return _transform_of(profile, mode)[1] if profile else ""


@lru_cache(maxsize=8)
def _transform_of(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The transform to sRGB of an image of this mode, and the profile's name; None for sRGB or no valid one.

    Threads share it; without its cache of one pixel it has no state.
    """
    try:
        if len(profile) > MAX_PROFILE_BYTES:
            raise ValueError("too large")
        opened = ImageCms.getOpenProfile(io.BytesIO(profile))
        own = _SPACES[opened.profile.xcolor_space.strip()]
        # Greyscale images are often saved with a colour profile.
        if own != mode and (own, mode) != ("RGB", "L"):
            raise ValueError("for other pixels")
        flags = ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(opened, srgb, own, "RGB", intent, flags)
        if _changes_little(transform, own):
            return None, ""
        name = ImageCms.getProfileDescription(opened).strip()
        return transform, shortened(printable(name)) or "without a name"
    # The colour library raises many types for damaged profiles, which every viewer ignores.
    except Exception:
        return None, DAMAGED


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether no colour changes by more than `SAME`; fails if the profile cannot be applied."""
    steps = np.linspace(0, 255, 16).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(64, 64, 3)
    probe = Image.fromarray(colours).convert(mode)
    given, changed = (np.asarray(one, np.int16) for one in (probe.convert("RGB"), transform.apply(probe)))
    return bool(np.abs(changed - given).max() <= SAME)
