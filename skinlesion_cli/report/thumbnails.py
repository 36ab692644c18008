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


def data_uri(picture: Image.Image, side: int = SIDE) -> str:
    """An RGB picture, made smaller, as a JPEG in a data URI.

    Comments and EXIF data of its file, which may name a person or a place, are left out.
    """
    small = Image.fromarray(np.asarray(picture))
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def heat_pair(explanation: "Explanation") -> tuple[str, str]:
    """`heat_pictures` as data URIs."""
    photo, heat = heat_pictures(explanation)
    return data_uri(photo), data_uri(heat)


def heat_pictures(
    explanation: "Explanation", *, opacity: float = OPACITY, side: int = SIDE
) -> tuple[Image.Image, Image.Image]:
    """The photograph with a frame around what the model saw, and the same under the map of the evidence.

    Args:
        explanation: of one photograph.
        opacity: of the map, in [0, 1].
        side: maximum length of the pictures' longer side, in pixels.
    """
    # Made small first, so that the frame's line is neither lost nor coarse.
    photo = Image.fromarray(np.asarray(explanation.image))
    photo.thumbnail((side, side))
    across, down = photo.width / explanation.image.width, photo.height / explanation.image.height
    frame = explanation.frame
    left, top = round(frame.left * across), round(frame.top * down)
    box = (left, top, round(frame.right * across), round(frame.bottom * down))
    heat = photo.copy()
    size = (max(box[2] - box[0], 1), max(box[3] - box[1], 1))
    inside = photo.crop((*box[:2], box[0] + size[0], box[1] + size[1]))
    heat.paste(Image.blend(inside, _coloured(explanation.heat, size), opacity), box[:2])
    for picture in (photo, heat):
        _outline(picture, box)
    return photo, heat


def _coloured(heat: np.ndarray, size: tuple[int, int]) -> Image.Image:
    from matplotlib import colormaps

    grey = Image.fromarray((255 * heat).round().astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    colours = colormaps[COLOURS](np.asarray(grey))[..., :3]
    return Image.fromarray((255 * colours).round().astype(np.uint8))


def _outline(picture: Image.Image, box: tuple[int, int, int, int]) -> None:
    """A light line inside a dark one, visible on any photograph."""
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = box
    pen.rectangle((left, top, right - 1, bottom - 1), outline=(0, 0, 0))
    pen.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline=(255, 255, 255))
