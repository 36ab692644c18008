"""Training augmentation, in the paper's order: a crop on the CPU, then whole batches on the training device.

Every parameter is drawn for each image alone, from the generator of its draw, and travels with it. Flips come
before the colour jitter in the paper and with the rotation here: no colour operation asks where a pixel is.
"""

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from skinlesion_cli.common.paper import (
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

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""

# Columns of an image's parameters: 1 or 0, 1 or 0, four colour parameters in the order of `_OPERATIONS`, a
# row of `_ORDERS`, and degrees, counter-clockwise.
FLIP_X, FLIP_Y, COLOUR, ORDER, ANGLE = 0, 1, slice(2, 6), 6, 7
PARAMETERS = 8

CROP_ATTEMPTS = 10
_ORDERS = torch.tensor(list(itertools.permutations(range(4))))
_GREY = (0.2989, 0.587, 0.114)


def draw_crop(generator: np.random.Generator, width: int, height: int) -> Box:
    """Draw a part of a picture by `CROP_SCALE` of its area and `CROP_RATIO`, as torchvision's crop does.

    Where no attempt fits into a narrow picture, the largest central part of an allowed ratio is taken.
    """
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    for _ in range(CROP_ATTEMPTS):
        area = width * height * generator.uniform(*CROP_SCALE)
        ratio = math.exp(generator.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(generator.integers(0, width - w + 1))
            return left, int(generator.integers(0, height - h + 1)), w, h
    w, h = width, height
    if width < CROP_RATIO[0] * height:
        h = round(width / CROP_RATIO[0])
    elif width > CROP_RATIO[1] * height:
        w = round(height * CROP_RATIO[1])
    return (width - w) // 2, (height - h) // 2, w, h


def draw_parameters(generator: np.random.Generator) -> NDArray[np.float32]:
    """Draw what `augment` does to one image: (`PARAMETERS`,)."""
    return np.array(
        [
            generator.random() < HORIZONTAL_FLIP,
            generator.random() < VERTICAL_FLIP,
            *(generator.uniform(1 - spread, 1 + spread) for spread in (BRIGHTNESS, CONTRAST, SATURATION)),
            generator.uniform(-HUE, HUE),
            generator.integers(len(_ORDERS)),
            generator.uniform(-ROTATION_DEGREES, ROTATION_DEGREES),
        ],
        dtype=np.float32,
    )


def crop(picture: torch.Tensor, box: Box, side: int) -> torch.Tensor:
    """The part of a picture (3, height, width), uint8, resized to (3, side, side): bilinear, antialiased."""
    left, top, width, height = box
    part = picture[None, :, top : top + height, left : left + width]
    return functional.interpolate(part, (side, side), mode="bilinear", antialias=True)[0]


def augment(images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    """Colour jitter, flips and rotation of a batch.

    Args:
        images: (n, 3, side, side), uint8, on any device.
        parameters: (n, `PARAMETERS`), in host memory: sorting it there spares the device a wait.

    Returns:
        (n, 3, side, side), float32 in [0, 1], on the images' device; black where a rotation leaves nothing.
    """
    # On a CPU, one image after another stays in the processor's cache: half the time of a whole batch.
    size = 1 if images.device.type == "cpu" else len(images)
    parts = zip(torch.split(images, size), torch.split(parameters, size), strict=True)
    return torch.cat([turned(jittered(part.float().div_(255.0), own), own) for part, own in parts])


def jittered(images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    """Brightness, contrast, saturation and hue of images in [0, 1], in each image's own order, in place."""
    orders = _ORDERS[parameters[:, ORDER].long()]
    places, counts = (
        orders.argsort(dim=0, stable=True),
        [orders[:, k].bincount(minlength=4) for k in range(4)],
    )
    places = places.to(images.device, non_blocking=True)
    strengths = parameters[:, COLOUR].to(images.device, non_blocking=True)
    for turn in range(4):
        start = 0
        for number, (operation, count) in enumerate(zip(_OPERATIONS, counts[turn].tolist(), strict=True)):
            chosen = places[start : start + count, turn]
            if count:
                strength = strengths[chosen, number].view(-1, 1, 1, 1)
                images.index_copy_(0, chosen, operation(images[chosen], strength))
            start += count
    return images


def turned(images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    """Flip and rotate images about their centres: one sampling for both, of the nearest pixel as published.

    A bilinear sampling takes a third of the fine detail out of the training images, and none out of those
    that are scored: two short runs of two had a higher AUC without it, by 0.02 and 0.05.
    """
    angle = torch.deg2rad(parameters[:, ANGLE])
    cos, sin = angle.cos(), angle.sin()
    flip_x, flip_y = 1 - 2 * parameters[:, FLIP_X], 1 - 2 * parameters[:, FLIP_Y]
    # From a pixel of the result back to the picture: turned back, then flipped.
    rows = [flip_x * cos, -flip_x * sin, 0 * cos, flip_y * sin, flip_y * cos, 0 * cos]
    back = torch.stack(rows, dim=1).view(-1, 2, 3).to(images.device, images.dtype, non_blocking=True)
    grid = functional.affine_grid(back, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="nearest", align_corners=False)


def _brighter(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return images.mul_(factor).clamp_(0, 1)


def _contrasted(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    return images.mul_(factor).add_(mean * (1 - factor)).clamp_(0, 1)


def _saturated(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    grey = _grey(images)
    return images.mul_(factor).add_(grey * (1 - factor)).clamp_(0, 1)


def _hued(images: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Turn the hue by `shift` of a full circle, in the HSV hexcone (Smith, SIGGRAPH 1978)."""
    red, green, blue = images.unbind(dim=1)
    high, low = images.amax(dim=1), images.amin(dim=1)
    chroma = high - low
    safe = torch.where(chroma > 0, chroma, 1.0)
    # Sixths of a circle from red.
    hue = torch.where(high == blue, 4 + (red - green) / safe, 2 + (blue - red) / safe)
    hue = torch.where(high == green, 2 + (blue - red) / safe, hue)
    hue = torch.where(high == red, (green - blue) / safe, hue).add_(6 * shift[:, 0])
    parts = []
    for first in (5.0, 3.0, 1.0):
        distance = (hue + first).remainder_(6)
        share = torch.minimum(distance, 4 - distance).clamp_(0, 1)
        parts.append(high - chroma * share)
    return torch.stack(parts, dim=1)


def _grey(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = images.unbind(dim=1)
    return (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue).unsqueeze(1)


_OPERATIONS = (_brighter, _contrasted, _saturated, _hued)


def normalize(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Pixels to the model's input: (x - mean) / std, on the device where they lie.

    Args:
        images: (n, 3, height, width): uint8, or float32 in [0, 1], which is changed in place.
        mean: of each channel, in [0, 1].
        std: of each channel, above 0.

    Returns:
        (n, 3, height, width), float32.
    """
    scale = torch.tensor(std, device=images.device).view(1, 3, 1, 1)
    shift = torch.tensor(mean, device=images.device).view(1, 3, 1, 1)
    values = images.float().div_(255.0) if images.dtype == torch.uint8 else images
    return values.sub_(shift).div_(scale)
