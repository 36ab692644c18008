"""From a photograph to the model's square input, and back: which part of the photograph the model sees.

The setting `fit` selects one of three ways. crop: the shorter side is resized, and the centre is cropped, as
in the paper. pad: the longer side is resized, and a border makes the image square. squash: both sides are
resized to the same length, whatever the photograph's proportions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from PIL import Image

from skinlesion_cli.common.paper import PAPER, Resize

CUT_LIMIT = 0.25
"""Share of a photograph's area whose loss `data check` counts."""


@dataclass(frozen=True)
class Frame:
    """A rectangle in pixels of an image; edges may be between pixels, or outside the image."""

    left: float
    top: float
    right: float
    bottom: float

    def within(self, size: tuple[int, int]) -> "Frame":
        """Its part inside an image of `size` (width, height)."""
        width, height = size
        return Frame(max(self.left, 0), max(self.top, 0), min(self.right, width), min(self.bottom, height))


def resize_side(img_size: int, resize: Resize = PAPER) -> int:
    """Length that the shorter side is resized to before the centre crop: round(ratio × img_size)."""
    return round(resize.ratio * img_size)


def fitted(image: Image.Image, img_size: int, resize: Resize = PAPER) -> Image.Image:
    """The evaluation transform: an RGB image of any size as the model's input, `img_size` on each side.

    Bit-identical to torchvision on the same image: for crop, Resize and CenterCrop; for pad, Resize with
    `max_size` alone, and Pad; for squash, Resize of both sides.
    """
    size, left, top = _placed(image.size, img_size, resize)
    resized = image.resize(size, Image.Resampling[resize.interpolation.upper()])
    if resize.fit != "pad":
        return resized.crop((left, top, left + img_size, top + img_size))
    square = Image.new("RGB", (img_size, img_size), resize.border)
    square.paste(resized, (-left, -top))
    return square


def seen_frame(size: tuple[int, int], img_size: int, resize: Resize = PAPER) -> Frame:
    """The rectangle of an image of `size` (width, height) that `fitted` shows.

    For pad it extends beyond the image by the border.
    """
    (width, height), left, top = _placed(size, img_size, resize)
    scale_x, scale_y = size[0] / width, size[1] / height
    return Frame(left * scale_x, top * scale_y, (left + img_size) * scale_x, (top + img_size) * scale_y)


def cut_share(size: tuple[int, int], img_size: int, resize: Resize = PAPER) -> float:
    """The share of the area of an image of `size` that `fitted` leaves out, in either orientation."""
    seen = seen_frame(size, img_size, resize).within(size)
    return 1 - (seen.right - seen.left) * (seen.bottom - seen.top) / (size[0] * size[1])


def cut_by_crop(sizes: Sequence[tuple[int, int]], img_size: int) -> dict[str, float] | None:
    """How many images of these sizes lose more than `CUT_LIMIT` of their area to the paper's crop.

    `images` is their number, `share` their share of all images, in [0, 1], and `median` the median share of
    the area that an image loses. None without images.
    """
    shares = [cut_share(size, img_size) for size in sizes]
    cut = sum(share > CUT_LIMIT for share in shares)
    return {"images": cut, "share": cut / len(shares), "median": median(shares)} if shares else None


def _placed(size: tuple[int, int], img_size: int, resize: Resize) -> tuple[tuple[int, int], int, int]:
    """Width and height of the resized image, and where on it the square's left and top are."""
    if resize.fit == "squash":
        return (img_size, img_size), 0, 0
    if resize.fit == "pad":
        width, height = (max(1, int(img_size * side / max(size))) for side in size)
        return (width, height), -((img_size - width) // 2), -((img_size - height) // 2)
    shorter = resize_side(img_size, resize)
    width, height = (int(shorter * side / min(size)) for side in size)
    return (width, height), round((width - img_size) / 2.0), round((height - img_size) / 2.0)
