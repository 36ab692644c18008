"""The evaluation view of each `fit`, by torchvision and not by this package."""

from PIL import Image
from torchvision.transforms import v2

from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD, Resize
from skinlesion_cli.common.settings import choices
from skinlesion_cli.models.preprocessing import Preprocessing

FITS = choices("fit")
BORDER = (124, 116, 104)
"""ImageNet's mean, in bytes."""


def preprocessing_of(fit: str, side: int = 64) -> Preprocessing:
    """The paper's, but for the fit."""
    return Preprocessing(side, IMAGENET_MEAN, IMAGENET_STD, Resize(fit=fit))


def resize_of(fit: str) -> Resize:
    """The same without the side."""
    return preprocessing_of(fit).resize


def reference_view(image: Image.Image, side: int, fit: str) -> Image.Image:
    """The view (side × side) of an upright RGB image."""
    if fit == "crop":
        return v2.Compose([v2.Resize(round(1.14 * side)), v2.CenterCrop(side)])(image)
    if fit == "squash":
        return v2.Resize((side, side))(image)
    small = v2.Resize(None, max_size=side)(image)
    left, top = (side - small.width) // 2, (side - small.height) // 2
    edges = [left, top, side - small.width - left, side - small.height - top]
    return v2.Pad(edges, fill=BORDER)(small)
