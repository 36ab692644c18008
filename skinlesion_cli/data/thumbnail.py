"""Small images embedded in a page, without the metadata of their files."""

import base64
import io

import numpy as np
from PIL import Image

SIDE = 240
"""Maximum length of the longer side, in pixels."""
QUALITY = 80


def data_uri(picture: Image.Image) -> str:
    """An RGB image as a small JPEG data URI, without its EXIF data, which may name a person or a place."""
    small = Image.fromarray(np.asarray(picture))
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
