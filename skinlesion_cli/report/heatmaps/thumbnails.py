"""Thumbnails of a heat map, for a page."""

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from skinlesion_cli.data.framing import Frame
from skinlesion_cli.data.thumbnail import SIDE
from skinlesion_cli.report.heatmaps.paint import painted

if TYPE_CHECKING:
    from skinlesion_cli.saliency.explanation import Explanation


def heat_pictures(
    explanation: "Explanation", *, side: int = SIDE, **options: Any
) -> tuple[Image.Image, Image.Image]:
    """The photograph with a frame around what the model saw, and the same under the map.

    The longer side is `side`; the other options are those of `painted`.
    """
    photo, (left, top, right, bottom) = framed_photograph(explanation.image, explanation.frame, side)
    heat = photo.copy()
    drawn = painted(explanation, (max(right - left, 1), max(bottom - top, 1)), **options)
    heat.paste(drawn, (left, top), drawn)
    return photo, heat


def framed_photograph(
    image: Image.Image, frame: Frame, side: int = SIDE
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The photograph with a frame around what the model saw; the longer side is `side`.

    Also returns the frame's left, top, right and bottom, in pixels of that image.
    """
    # Resized first, so that the lines are neither lost nor coarse.
    photo = ImageOps.contain(Image.fromarray(np.asarray(image)), (side, side))
    across, down = photo.width / image.width, photo.height / image.height
    left, right = round(frame.left * across), round(frame.right * across)
    top, bottom = round(frame.top * down), round(frame.bottom * down)
    # For a padded photograph, the part of the frame that is on the photograph.
    x, y, end_x, end_y = max(left, 0), max(top, 0), min(right, photo.width), min(bottom, photo.height)
    # A light line inside a dark one, visible on any photograph.
    pen = ImageDraw.Draw(photo)
    pen.rectangle((x, y, end_x - 1, end_y - 1), outline="black")
    pen.rectangle((x + 1, y + 1, max(end_x - 2, x + 1), max(end_y - 2, y + 1)), outline="white")
    return photo, (left, top, right, bottom)
