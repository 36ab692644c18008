"""Training augmentation, in the paper's order: a crop on the CPU, then whole batches on the training device.

The parameters of each image are drawn from its own generator. The paper flips before the colour jitter; here,
flips are part of the rotation, with the same effect: colour operations do not depend on a pixel's position.
"""

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from skinlesion_cli.common import paper
from skinlesion_cli.common.paper import Resize

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""

# Columns of an image's parameters: 1 or 0 for each flip, a colour parameter for each of `_OPERATIONS`, a row
# of `_ORDERS`, degrees counter-clockwise, and the part that shows the photograph and not a border (left, top,
# right, bottom, from -1 to 1).
FLIP_X, FLIP_Y, COLOUR, ORDER, ANGLE, SHOWN = 0, 1, slice(2, 6), 6, 7, slice(8, 12)
PARAMETERS = 12
WHOLE = (-1.0, -1.0, 1.0, 1.0)
"""`SHOWN` of an image without a border."""

CROP_ATTEMPTS = 10


@dataclass(frozen=True)
class Augmentation:
    """The ranges that parameters are drawn from."""

    crop_scale: tuple[float, float] = paper.CROP_SCALE
    """Share of the area."""
    crop_ratio: tuple[float, float] = paper.CROP_RATIO
    """Width / height."""
    horizontal_flip: float = paper.HORIZONTAL_FLIP
    vertical_flip: float = paper.VERTICAL_FLIP
    brightness: float = paper.BRIGHTNESS
    contrast: float = paper.CONTRAST
    saturation: float = paper.SATURATION
    hue: float = paper.HUE
    rotation_degrees: float = paper.ROTATION_DEGREES
    corners: str = "zeros"
    """What a rotation leaves in the corners: "zeros" is black, "reflection" mirrors the image."""


AUGMENTATIONS = {
    "paper": Augmentation(),
    # Lesions have no upright position. Hue is as published: colour is evidence. The smallest crop is still
    # as large as the model's input (see `paper.SHRINK_RATIO`).
    "strong": Augmentation(
        crop_scale=(0.45, 1.0),
        crop_ratio=(0.8, 1.25),
        vertical_flip=0.5,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        rotation_degrees=180.0,
        corners="reflection",
    ),
}
PAPER = AUGMENTATIONS["paper"]
_ORDERS = torch.tensor(list(itertools.permutations(range(4))))


def draw_crop(generator: np.random.Generator, width: int, height: int, ranges: Augmentation = PAPER) -> Box:
    """Draw a crop by its scale and ratio, as torchvision's RandomResizedCrop does.

    If no attempt fits into a narrow image, the largest central crop with an allowed ratio is taken.
    """
    low, high = (math.log(ratio) for ratio in ranges.crop_ratio)
    for _ in range(CROP_ATTEMPTS):
        area = width * height * generator.uniform(*ranges.crop_scale)
        ratio = math.exp(generator.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(generator.integers(0, width - w + 1))
            return left, int(generator.integers(0, height - h + 1)), w, h
    narrowest, widest = ranges.crop_ratio
    w = round(height * widest) if width > widest * height else width
    h = round(width / narrowest) if width < narrowest * height else height
    return (width - w) // 2, (height - h) // 2, w, h


def draw_parameters(generator: np.random.Generator, ranges: Augmentation = PAPER) -> NDArray[np.float32]:
    """Draw the parameters of `augment` for one image: (`PARAMETERS`,)."""
    jitters = (ranges.brightness, ranges.contrast, ranges.saturation)
    return np.array(
        [
            generator.random() < ranges.horizontal_flip,
            generator.random() < ranges.vertical_flip,
            *(generator.uniform(1 - spread, 1 + spread) for spread in jitters),
            generator.uniform(-ranges.hue, ranges.hue),
            generator.integers(len(_ORDERS)),
            generator.uniform(-ranges.rotation_degrees, ranges.rotation_degrees),
            *WHOLE,
        ],
        dtype=np.float32,
    )


def crop(image: torch.Tensor, box: Box, side: int) -> torch.Tensor:
    """Crop an image (3, height, width), uint8, and resize it to (3, side, side), bilinear, antialiased."""
    left, top, width, height = box
    part = image[None, :, top : top + height, left : left + width]
    return functional.interpolate(part, (side, side), mode="bilinear", antialias=True)[0]


def draw_view(
    generator: np.random.Generator,
    picture: torch.Tensor,
    side: int,
    resize: Resize = paper.PAPER,
    ranges: Augmentation = PAPER,
) -> tuple[torch.Tensor, tuple[float, ...]]:
    """Draw a crop of an image (3, height, width), uint8; returns it as (3, side, side), and its `SHOWN`.

    For pad and squash, the crop is one of the square that the image would become; the image is resampled only
    once, without creating that square.
    """
    height, width = picture.shape[1:]
    if resize.fit == "crop":
        return crop(picture, draw_crop(generator, width, height, ranges), side), WHOLE
    longer = max(width, height)
    left, top, across, down = draw_crop(generator, longer, longer, ranges)
    if resize.fit == "squash":
        # The edges of the crop on the image, at least one pixel apart.
        x, y = left * width // longer, top * height // longer
        right, bottom = -(-(left + across) * width // longer), -(-(top + down) * height // longer)
        return crop(picture, (x, y, right - x, bottom - y), side), WHOLE
    x0, x1, from_x, to_x = _overlap(left, across, (longer - width) // 2, width, side)
    y0, y1, from_y, to_y = _overlap(top, down, (longer - height) // 2, height, side)
    part = picture[None, :, y0:y1, x0:x1]
    size = (to_y - from_y, to_x - from_x)
    square = torch.tensor(resize.border, dtype=torch.uint8).view(3, 1, 1).repeat(1, side, side)
    square[:, from_y:to_y, from_x:to_x] = functional.interpolate(part, size, mode="bilinear", antialias=True)[
        0
    ]
    return square, tuple(2 * edge / side - 1 for edge in (from_x, from_y, to_x, to_y))


def _overlap(start: int, length: int, offset: int, extent: int, side: int) -> tuple[int, int, int, int]:
    """Along one axis, the part of an image that a crop of its padded square shows, and where it shows it.

    Starts and lengths of the crop and of the image are those on the square; `side` is that of the result.
    """
    first, last = max(start, offset), min(start + length, offset + extent)
    begin = min(round((first - start) * side / length), side - 1)
    end = max(round((last - start) * side / length), begin + 1)
    return first - offset, last - offset, begin, end


def augment(
    images: torch.Tensor,
    parameters: torch.Tensor,
    corners: str = "zeros",
    border: tuple[int, ...] | None = None,
) -> torch.Tensor:
    """Jitter, flip and rotate images (n, 3, side, side), uint8; returns float32 in [0, 1] on their device.

    The parameters (n, `PARAMETERS`) are in host memory, where sorting them does not synchronise the device.
    `Augmentation.corners` determines the corners of a rotation. With a `border` (red, green, blue),
    everything that is not `SHOWN` gets this colour, so that the border is the same in every image, in
    training and after.
    """
    # One image at a time fits into the CPU's cache, which takes half the time of a whole batch.
    size = 1 if images.device.type == "cpu" else len(images)
    parts = zip(torch.split(images, size), torch.split(parameters, size), strict=True)
    return torch.cat(
        [rotate(jitter(part.float().div_(255.0), own), own, corners, border) for part, own in parts]
    )


def jitter(images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue of images in [0, 1], each in its own order.

    It may change `images`.
    """
    orders = _ORDERS[parameters[:, ORDER].long()]
    # For each of the four steps, the images sorted by the operation that they get. Contiguous: MPS has
    # written to wrong places with a strided index (pytorch#161333).
    sorted_images = _moved(orders.argsort(dim=0, stable=True).T.contiguous(), images.device)
    strengths = _moved(parameters[:, COLOUR], images.device)
    for step in range(len(_OPERATIONS)):
        counts = orders[:, step].bincount(minlength=len(_OPERATIONS)).tolist()
        for number, chosen in enumerate(torch.split(sorted_images[step], counts)):
            strength = strengths[chosen, number].view(-1, 1, 1, 1)
            if len(chosen) == len(images):
                images = _OPERATIONS[number](images, strength)
            elif len(chosen):
                images[chosen] = _OPERATIONS[number](images[chosen], strength)
    return images


def rotate(
    images: torch.Tensor,
    parameters: torch.Tensor,
    corners: str = "zeros",
    border: tuple[int, ...] | None = None,
) -> torch.Tensor:
    """Flip and rotate images about their centres in one resampling, nearest-neighbour as published.

    Bilinear resampling would remove a third of the fine detail from the training images, but none from the
    images that are scored: in two short runs, the AUC was higher without it, by 0.02 and 0.05.
    """
    angle = torch.deg2rad(parameters[:, ANGLE])
    cos, sin = angle.cos(), angle.sin()
    flip_x, flip_y = 1 - 2 * parameters[:, FLIP_X], 1 - 2 * parameters[:, FLIP_Y]
    # From a pixel of the result to the input: rotated back, then flipped.
    back = torch.stack([flip_x * cos, -flip_x * sin, flip_y * sin, flip_y * cos])
    across_x, down_x, across_y, down_y = _moved(back, images.device)[..., None, None]
    height, width = (
        torch.arange(1, 2 * side, 2, device=images.device) / side - 1 for side in images.shape[2:]
    )
    down = height[:, None]
    # Not `affine_grid`: it multiplies matrices, and TF32 would round the coordinates to other pixels.
    grid = torch.stack([across_x * width + down_x * down, across_y * width + down_y * down], dim=-1)
    turned = functional.grid_sample(images, grid, mode="nearest", padding_mode=corners, align_corners=False)
    if border is None:
        return turned
    shown = _moved(parameters[:, SHOWN], images.device).view(-1, 2, 1, 1, 2)
    hidden = ((grid < shown[:, 0]) | (grid > shown[:, 1])).any(dim=-1)
    colour = _constants((*border, *border), images.device)[0] / 255
    return torch.where(hidden[:, None], colour, turned)


def _moved(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    # On MPS, a non-blocking copy may read memory that was already freed (pytorch#139550).
    return values.to(device, non_blocking=device.type == "cuda")


def _brighter(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return images.mul_(factor).clamp_(0, 1)


def _contrasted(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    return images.mul_(factor).add_(mean * (1 - factor)).clamp_(0, 1)


def _saturated(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    grey = _grey(images)
    return images.mul_(factor).add_(grey * (1 - factor)).clamp_(0, 1)


def _hued(images: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Shift the hue by `shift` of a full circle, in the HSV hexcone (Smith, SIGGRAPH 1978)."""
    red, green, blue = images.unbind(dim=1)
    high, low = images.amax(dim=1), images.amin(dim=1)
    chroma = high - low
    safe = torch.where(chroma > 0, chroma, 1.0)
    # In sixths of a circle, from red.
    hue = torch.where(high == blue, 4 + (red - green) / safe, 2 + (blue - red) / safe)
    hue = torch.where(high == green, 2 + (blue - red) / safe, hue)
    hue = torch.where(high == red, (green - blue) / safe, hue).add_(6 * shift[:, 0])
    distances = ((hue + first).remainder_(6) for first in (5.0, 3.0, 1.0))
    shares = (torch.minimum(distance, 4 - distance).clamp_(0, 1) for distance in distances)
    return torch.stack([high - chroma * share for share in shares], dim=1)


def _grey(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = images.unbind(dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


_OPERATIONS = (_brighter, _contrasted, _saturated, _hued)


@functools.lru_cache(maxsize=16)
def _constants(values: tuple[float, ...], device: torch.device) -> tuple[torch.Tensor, ...]:
    """Means and standard deviations on the device: a copy for each batch would synchronise it."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, device=device).view(2, 1, 3, 1, 1).unbind()


def normalize(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Normalise pixels for the model: (x - mean) / std per channel, on their own device, as float32.

    The images are (n, 3, height, width), uint8, or float32 in [0, 1], which is changed in place.
    """
    shift, scale = _constants((*mean, *std), images.device)
    values = images.float().div_(255.0) if images.dtype == torch.uint8 else images
    return values.sub_(shift).div_(scale)
