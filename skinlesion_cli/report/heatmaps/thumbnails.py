"""Small pictures inside a page, without the metadata of their files."""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from skinlesion_cli.report.heatmaps.paint import painted

if TYPE_CHECKING:
    from skinlesion_cli.saliency.explanation import Explanation

SIDE = 240
"""Maximum length of the longer side, in pixels."""
QUALITY = 80


def data_uri(picture: Image.Image) -> str:
    """An RGB picture as a small JPEG data URI, without its EXIF data, which may name a person or a place."""
    small = Image.fromarray(np.asarray(picture))
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def heat_pictures(
    explanation: "Explanation", *, side: int = SIDE, **options: Any
) -> tuple[Image.Image, Image.Image]:
    """The photograph with a frame around what the model saw, and the same under the map.

    The longer side is `side`; the other options are those of `painted`.
    """
    # Resized first, so that the lines are neither lost nor coarse.
    photo = ImageOps.contain(Image.fromarray(np.asarray(explanation.image)), (side, side))
    across, down = photo.width / explanation.image.width, photo.height / explanation.image.height
    frame = explanation.frame
    left, right = round(frame.left * across), round(frame.right * across)
    top, bottom = round(frame.top * down), round(frame.bottom * down)
    size = (max(right - left, 1), max(bottom - top, 1))
    heat = photo.copy()
    # Of a padded photograph, the part of the frame that is on it.
    x, y, end_x, end_y = max(left, 0), max(top, 0), min(right, photo.width), min(bottom, photo.height)
    for picture in (photo, heat):
        # A light line inside a dark one, visible on any photograph.
        pen = ImageDraw.Draw(picture)
        pen.rectangle((x, y, end_x - 1, end_y - 1), outline="black")
        pen.rectangle((x + 1, y + 1, max(end_x - 2, x + 1), max(end_y - 2, y + 1)), outline="white")
    drawn = painted(explanation, size, **options)
    heat.paste(drawn, (left, top), drawn)
    return photo, heat
