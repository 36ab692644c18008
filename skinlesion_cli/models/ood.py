"""How far a picture lies from the training images: a Gaussian of the features that the model's head sees.

The Gaussian is that of probabilistic principal component analysis (Tipping and Bishop, *Probabilistic
Principal Component Analysis*, JRSS B 61, 1999, section 3): full covariance along the leading directions, one
variance for all others. The distance is the Mahalanobis distance under it (Lee et al., *A Simple Unified
Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks*, NeurIPS 2018), with one Gaussian
for all classes: that a lesion is of none of them must not make it strange.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.arrays import Floats

DIRECTIONS = 64
"""Leading directions at most."""
IMAGES = 2000
"""Training images at most; more change the Gaussian little."""
MIN_IMAGES = 20
"""With fewer, a covariance means nothing."""
FAMILIAR = 0.99
"""Share of the validation images that must lie within the limit."""


@dataclass(frozen=True)
class Novelty:
    """The Gaussian of some features, and the distance up to which a picture counts as familiar."""

    mean: NDArray[np.float32]
    """(d,)."""
    directions: NDArray[np.float32]
    """(d, k): the leading directions, scaled so that `distances` needs no division."""
    noise: float
    """Variance along all other directions."""
    limit: float

    def distances(self, features: NDArray[np.floating]) -> Floats:
        """Mahalanobis distance of each picture, divided by √d, so that it is near 1 for training images.

        Args:
            features: (n, d).

        Returns:
            (n,).
        """
        centred = features.astype(np.float64) - self.mean
        # c' C^-1 c, C^-1 being (1/noise) I less its excess along the leading directions (Woodbury).
        along = ((centred @ self.directions.astype(np.float64)) ** 2).sum(axis=1)
        squared = (centred**2).sum(axis=1) / self.noise - along
        distances: Floats = np.sqrt(np.maximum(squared, 0.0) / len(self.mean))
        return distances


def fit_novelty(training: NDArray[np.floating], validation: NDArray[np.floating]) -> Novelty | None:
    """Fit the Gaussian to training images, and its limit to validation images, which the model did not learn.

    Args:
        training: (n, d), features of training images.
        validation: (m, d), m at least 1.

    Returns:
        The Gaussian; None where it would mean nothing: fewer than `MIN_IMAGES` images, or constant features.
    """
    n, d = training.shape
    if n < MIN_IMAGES:
        return None
    mean = training.mean(axis=0, dtype=np.float64)
    _, scales, axes = np.linalg.svd(training.astype(np.float64) - mean, full_matrices=False)
    variances = scales**2 / (n - 1)
    k = min(DIRECTIONS, n // 4, d - 1)
    noise = float(variances[k:].sum() / (d - k))
    if not noise > 0:
        return None
    scaled = axes[:k].T * np.sqrt(1.0 / noise - 1.0 / np.maximum(variances[:k], noise))
    fitted = Novelty(mean.astype(np.float32), scaled.astype(np.float32), noise, limit=0.0)
    limit = float(np.quantile(fitted.distances(validation), FAMILIAR, method="higher"))
    return Novelty(fitted.mean, fitted.directions, noise, limit)
