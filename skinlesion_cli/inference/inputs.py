"""What a predictor takes as an image."""

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import OnEvent
from skinlesion_cli.data.find_images import find_images
from skinlesion_cli.data.images import read_image, rgb_of

ImageInput = str | Path | BinaryIO | Image.Image | NDArray[np.uint8]
"""A path, an open file, a PIL image, or an RGB array (height, width, 3) of uint8."""


def listed(images: Iterable[ImageInput], on_event: OnEvent) -> list[ImageInput]:
    """The images of `predict_many` as a list."""
    if isinstance(images, str) and glob.has_magic(images):
        images = find_images([images], on_event)
    if is_single(images):
        raise InputError("predict_many takes a list of images, not a single one; call predict for that")
    return list(images)


def is_single(images: Any) -> bool:
    """Whether it is one image, and not several."""
    return (
        isinstance(images, str | Path | Image.Image)
        or hasattr(images, "read")
        or getattr(images, "ndim", 4) < 4
    )


def pixels_of(image: ImageInput, name: str) -> Image.Image:
    """An image as upright 8-bit RGB; UnreadableImageError, with its `name`, if it cannot be read."""
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, np.ndarray | Image.Image):
        return rgb_of(Image.fromarray(image) if isinstance(image, np.ndarray) else image, name)
    return read_image(Path(name), file=image)


def image_name(index: int, image: ImageInput) -> str:
    """The name of an image in results and messages: its path, or `image N` for one in memory or an open file.

    Raises:
        InputError: it is not an `ImageInput`.
    """
    if isinstance(image, str | Path):
        return str(image)
    is_known = isinstance(image, np.ndarray | Image.Image) or hasattr(image, "read")
    what = "" if is_known else f"of type {type(image).__name__}"
    if isinstance(image, np.ndarray) and (image.dtype != np.uint8 or image.shape[2:] != (3,)):
        what = f"an array {image.shape} of {image.dtype}"
    if what:
        raise InputError(f"image {index} is {what}; give a path, a PIL image or an array (h, w, 3) of uint8")
    return f"image {index}"
