"""The out-of-distribution detector: how far an image lies from the training images.

It is a Gaussian of the features that enter the model's head, that of probabilistic principal component
analysis (Tipping and Bishop, *Probabilistic Principal Component Analysis*, JRSS B 61, 1999, section 3): full
covariance along the leading directions, one variance for all others. The distance is the Mahalanobis distance
(Lee et al., *A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks*,
NeurIPS 2018), with one Gaussian for all classes: a lesion of a class that is not among them need not be far
away.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.arrays import Floats

DIRECTIONS = 64
"""Maximum number of leading directions."""
IMAGES = 2000
"""Maximum number of training images to fit on; more change the Gaussian little."""
MIN_IMAGES = 20
"""With fewer training images, a covariance means nothing."""
IN_DISTRIBUTION = 0.99
"""Share of the validation images whose distance is within the limit."""


@dataclass(frozen=True)
class OodDetector:
    """A Gaussian of the training images' features."""

    mean: NDArray[np.float32]
    """(d,)."""
    directions: NDArray[np.float32]
    """(d, k): the leading directions, scaled so that `distances` needs no division."""
    noise: float
    """Variance along all other directions."""

    def distances(self, features: NDArray[np.floating]) -> Floats:
        """Mahalanobis distances (n,) of features (n, d), divided by √d, so near 1 for training images."""
        centred = features.astype(np.float64) - self.mean
        # c' C^-1 c, where C^-1 is (1/noise) I minus a term along the leading directions (Woodbury).
        along = ((centred @ self.directions.astype(np.float64)) ** 2).sum(axis=1)
        squared = (centred**2).sum(axis=1) / self.noise - along
        return np.asarray(np.sqrt(np.maximum(squared, 0.0) / len(self.mean)))


def fit_ood_detector(
    training: NDArray[np.floating], validation: NDArray[np.floating]
) -> tuple[OodDetector, float] | tuple[None, None]:
    """Fit the Gaussian to training features (n, d), and the distance's limit to validation features (m, d).

    m ≥ 1. The result is (None, None) with fewer than `MIN_IMAGES` training images or constant features.
    """
    n, d = training.shape
    if n < MIN_IMAGES:
        return None, None
    mean = training.mean(axis=0, dtype=np.float64)
    _, scales, axes = np.linalg.svd(training.astype(np.float64) - mean, full_matrices=False)
    variances = scales**2 / (n - 1)
    k = min(DIRECTIONS, n // 4, d - 1)
    noise = float(variances[k:].sum() / (d - k))
    if not noise > 0:
        return None, None
    scaled = axes[:k].T * np.sqrt(1.0 / noise - 1.0 / np.maximum(variances[:k], noise))
    fitted = OodDetector(mean.astype(np.float32), scaled.astype(np.float32), noise)
    return fitted, float(np.quantile(fitted.distances(validation), IN_DISTRIBUTION, method="higher"))
