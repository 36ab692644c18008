"""Training augmentation, in the paper's order, and the normalisation that ends it."""

from collections.abc import Callable

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from skinlesion_cli.core.settings import (
    BRIGHTNESS,
    CONTRAST,
    CROP_RATIO,
    CROP_SCALE,
    HORIZONTAL_FLIP,
    HUE,
    ROTATION_DEGREES,
    SATURATION,
    VERTICAL_FLIP,
)


def training_transform(img_size: int) -> Callable[[Image.Image], Image.Image]:
    """The random part: crop, flips, colour jitter, rotation; a picture in, a picture of `img_size` out."""
    transform: Callable[[Image.Image], Image.Image] = v2.Compose(
        [
            v2.RandomResizedCrop(img_size, scale=CROP_SCALE, ratio=CROP_RATIO, antialias=True),
            v2.RandomHorizontalFlip(HORIZONTAL_FLIP),
            v2.RandomVerticalFlip(VERTICAL_FLIP),
            v2.ColorJitter(BRIGHTNESS, CONTRAST, SATURATION, HUE),
            v2.RandomRotation(ROTATION_DEGREES, interpolation=InterpolationMode.BILINEAR),
        ]
    )
    return transform


def normalize(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Bytes to the model's input: (x / 255 - mean) / std, on the device where the bytes lie.

    Args:
        images: (n, 3, height, width), uint8.
        mean: of each channel, in [0, 1].
        std: of each channel, above 0.

    Returns:
        (n, 3, height, width), float32.
    """
    scale = torch.tensor(std, device=images.device).view(1, 3, 1, 1)
    shift = torch.tensor(mean, device=images.device).view(1, 3, 1, 1)
    return images.float().div_(255.0).sub_(shift).div_(scale)
