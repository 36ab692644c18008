"""Published figures that tests hold the tool against.

Source: Regmi and Xu, *Skin Lesion Classification with MobileViTv2 and Dual-Weighted Learning*, 2025: the
confusion matrix on the test split, rows true, columns predicted, classes in alphabetical order.
"""

import numpy as np

CLASSES = (
    "Actinic keratoses",
    "Basal cell carcinoma",
    "Benign keratosis-like lesions",
    "Chickenpox",
    "Cowpox",
    "Dermatofibroma",
    "HFMD",
    "Healthy",
    "Measles",
    "Melanocytic nevi",
    "Melanoma",
    "Monkeypox",
    "Squamous cell carcinoma",
    "Vascular lesions",
)

CONFUSION = np.array(
    [
        [71, 8, 4, 0, 0, 0, 0, 0, 0, 3, 1, 0, 1, 0],
        [5, 310, 1, 0, 0, 0, 0, 0, 0, 11, 6, 0, 0, 0],
        [8, 9, 194, 0, 0, 0, 0, 0, 0, 28, 20, 0, 4, 0],
        [0, 0, 0, 112, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 17, 0, 0, 0, 8, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 241, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 170, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 83, 0, 0, 0, 0, 0],
        [1, 5, 7, 0, 0, 0, 0, 0, 0, 1243, 29, 0, 2, 1],
        [1, 10, 11, 0, 0, 0, 0, 0, 0, 64, 365, 0, 1, 1],
        [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 425, 0, 0],
        [4, 2, 2, 0, 0, 0, 0, 0, 0, 1, 1, 0, 54, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 24],
    ]
)

SUMMARY = {"accuracy": 0.9276, "weighted_f1": 0.9263, "macro_f1": 0.9185}

# Precision, recall and F1 of each class that follow from the matrix by hand, to 4 decimals.
PER_CLASS = {
    "Actinic keratoses": (71 / 90, 71 / 88, 142 / 178),
    "Basal cell carcinoma": (310 / 344, 310 / 333, 620 / 677),
    "Benign keratosis-like lesions": (194 / 219, 194 / 263, 388 / 482),
    "Chickenpox": (112 / 113, 112 / 113, 224 / 226),
    "Cowpox": (99 / 100, 1.0, 198 / 199),
    "Dermatofibroma": (1.0, 17 / 25, 34 / 42),
    "HFMD": (1.0, 241 / 242, 482 / 483),
    "Healthy": (1.0, 170 / 171, 340 / 341),
    "Measles": (1.0, 1.0, 1.0),
    "Melanocytic nevi": (1243 / 1359, 1243 / 1288, 2486 / 2647),
    "Melanoma": (365 / 423, 365 / 453, 730 / 876),
    "Monkeypox": (425 / 427, 425 / 426, 850 / 853),
    "Squamous cell carcinoma": (54 / 62, 54 / 64, 108 / 126),
    "Vascular lesions": (24 / 26, 24 / 26, 48 / 52),
}


def expanded() -> tuple[np.ndarray, np.ndarray]:
    """True and predicted class of each of the 3,674 images behind the matrix."""
    true, predicted = np.divmod(np.repeat(np.arange(CONFUSION.size), CONFUSION.ravel()), len(CLASSES))
    return true, predicted
