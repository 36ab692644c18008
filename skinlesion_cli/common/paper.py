"""What the paper reports of its own test split.

Source: Regmi and Xu, *Skin Lesion Classification with MobileViTv2 and Dual-Weighted Learning*, 2025. Its
class counts, which `skinlesion weights` shows, are `balance.PUBLISHED_COUNTS`.
"""

PUBLISHED_SCORES: dict[str, float] = {
    "accuracy": 0.9276,
    "weighted_f1": 0.9263,
    "macro_f1": 0.9185,
    "weighted_auc": 0.9803,
    "loss": 0.6552,
}
"""By the names of `metrics.SUMMARY`; the balanced accuracy is not reported."""

PUBLISHED_TEST_IMAGES = 3674

PUBLISHED_CAVEAT = (
    "The published class counts are those of a random split by image, in which most test images have a "
    "sibling in training: another photograph of the same lesion, or another copy of the same photograph. "
    "Scores of a split by lesion and patient are lower, and are not to be compared with these."
)
