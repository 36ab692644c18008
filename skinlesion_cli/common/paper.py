"""Constants of the paper: its preprocessing and augmentation, its class counts and its test scores.

Source: Regmi and Xu, *Skin Lesion Classification with MobileViTv2 and Dual-Weighted Learning*, 2025.
"""

from dataclasses import dataclass

# Preprocessing and augmentation. They are constants, not settings: a checkpoint must see the same pixels
# everywhere.
RESIZE_RATIO = 1.14
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CROP_SCALE = (0.7, 1.0)
CROP_RATIO = (0.9, 1.1)
HORIZONTAL_FLIP = 0.5
VERTICAL_FLIP = 0.2
BRIGHTNESS = 0.1
CONTRAST = 0.1
SATURATION = 0.1
HUE = 0.05
ROTATION_DEGREES = 15.0

# Shares of train, val and test in a split.
DEFAULT_RATIOS = "80/10/10"

# Training crops are taken from a downscaled copy whose shorter side is this many times `img_size`: the
# smallest crop of a square image is still 1.25 times as large as the model's input, so fine detail is kept.
SHRINK_RATIO = 1.5

# The training split, largest class first.
PUBLISHED_COUNTS: dict[str, int] = {
    "Melanocytic nevi": 10300,
    "Melanoma": 3617,
    "Monkeypox": 3408,
    "Basal cell carcinoma": 2658,
    "Benign keratosis-like lesions": 2099,
    "HFMD": 1932,
    "Healthy": 1368,
    "Chickenpox": 900,
    "Cowpox": 792,
    "Actinic keratoses": 693,
    "Measles": 660,
    "Squamous cell carcinoma": 502,
    "Vascular lesions": 202,
    "Dermatofibroma": 191,
}

PUBLISHED_SCORES: dict[str, float] = {
    "accuracy": 0.9276,
    "weighted_f1": 0.9263,
    "macro_f1": 0.9185,
    "weighted_auc": 0.9803,
    "loss": 0.6552,
}
"""On the test split, by the names of `metrics.SUMMARY`; balanced accuracy is not reported."""

PUBLISHED_TEST_IMAGES = 3674

PUBLISHED_CAVEAT = (
    "The published class counts are those of a random image-level split, in which most test images have a "
    "sibling in training: another photograph of the same lesion, or another copy of the same photograph. "
    "Scores of a split by lesion and patient are lower, and cannot be compared with these."
)


@dataclass(frozen=True)
class Resize:
    """How a photograph becomes square (see `data.framing`)."""

    ratio: float = RESIZE_RATIO
    """Length of the shorter side, relative to the side of the centre crop."""
    interpolation: str = "bilinear"
    """bilinear, bicubic, lanczos or nearest; antialiased, as in Pillow."""
    fit: str = "crop"
    """crop, pad or squash."""
    border: tuple[int, ...] = (0, 0, 0)
    """Colour of the border that pad adds; `Preprocessing` sets it."""


PAPER = Resize()
"""The paper's: shorter side to round(1.14 × the side of the crop), bilinear, centre crop."""
