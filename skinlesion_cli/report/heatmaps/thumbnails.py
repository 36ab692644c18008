"""Small pictures inside a page, without the metadata of their files."""

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from skinlesion_cli.saliency.gradcam import Explanation

SIDE = 240
"""Maximum length of the longer side, in pixels."""
QUALITY = 80
COLOURS = "inferno"
OPACITY = 0.5


def data_uri(picture: Image.Image) -> str:
    """An RGB picture as a small JPEG data URI, without its EXIF data, which may name a person or a place."""
    small = Image.fromarray(np.asarray(picture))
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def heat_pictures(
    explanation: "Explanation", *, opacity: float = OPACITY, side: int = SIDE
) -> tuple[Image.Image, Image.Image]:
    """The photograph with a frame around what the model saw; the same under the map, `opacity` in [0, 1]."""
    from matplotlib import colormaps

    # Made small first, so that the frame's line is neither lost nor coarse.
    photo = Image.fromarray(np.asarray(explanation.image))
    photo.thumbnail((side, side))
    across, down = photo.width / explanation.image.width, photo.height / explanation.image.height
    frame = explanation.frame
    left, right = round(frame.left * across), round(frame.right * across)
    top, bottom = round(frame.top * down), round(frame.bottom * down)
    heat = photo.copy()
    size = (max(right - left, 1), max(bottom - top, 1))
    inside = photo.crop((left, top, left + size[0], top + size[1]))
    grey = Image.fromarray((255 * explanation.heat).round().astype(np.uint8))
    grey = grey.resize(size, Image.Resampling.BILINEAR)
    coloured = Image.fromarray(colormaps[COLOURS](np.asarray(grey), bytes=True)[..., :3])
    heat.paste(Image.blend(inside, coloured, opacity), (left, top))
    for picture in (photo, heat):
        # A light line inside a dark one, visible on any photograph.
        pen = ImageDraw.Draw(picture)
        pen.rectangle((left, top, right - 1, bottom - 1), outline="black")
        pen.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline="white")
    return photo, heat
