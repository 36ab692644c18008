"""The out-of-distribution detector: how far an image lies from the training images.

It is a Gaussian fitted to simple statistics of the network's first feature maps: the mean, and the logarithm
of the standard deviation, of each channel (`backbone.statistics_of`). As `tests/benchmarks/ood.py` measures,
they distinguish noise, flat colours, documents and drawings from photographs of skin; the features before the
head hardly do. The Gaussian is that of probabilistic principal component analysis (Tipping and Bishop,
*Probabilistic Principal Component Analysis*, JRSS B 61, 1999, section 3): full covariance along the leading
directions, one variance for all others. The distance is the Mahalanobis distance (Lee et al., *A Simple
Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks*, NeurIPS 2018), with one
Gaussian for all classes: a lesion of an unknown class may not be far away.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.arrays import Floats

DIRECTIONS = 64
"""Maximum number of leading directions."""
IMAGES = 2000
"""Maximum number of training images to fit on; more change the Gaussian little."""
MIN_IMAGES = 20
"""With fewer training images, a covariance cannot be estimated."""
FALSE_ALARMS = 0.03
"""Share of images like the training images that is beyond the limit."""
PARTS = 5
"""Folds of the training images, each of which is scored by a Gaussian fitted to the others."""
LEAST_SCALE = 0.1
"""Smallest scale of a feature, as a share of the median scale: a channel that is nearly constant on the
training images would otherwise raise an alarm at the slightest change."""


@dataclass(frozen=True)
class OodDetector:
    """A Gaussian of the training images' features."""

    mean: NDArray[np.float32]
    """(d,)."""
    directions: NDArray[np.float32]
    """(d, k): the leading directions, scaled so that `distances` needs no division."""
    noise: float
    """Variance along all other directions."""
    scale: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))
    """(d,) or (1,): what each feature is divided by, after the mean is subtracted."""
    levels: int = 0
    """Number of the network's feature maps that the features describe; 0 for the features before the head."""

    def distances(self, features: NDArray[np.floating]) -> Floats:
        """Mahalanobis distances (n,) of features (n, d), divided by √d, so near 1 for training images."""
        centred = (features.astype(np.float64) - self.mean) / self.scale
        # c' C^-1 c, where C^-1 is (1/noise) I minus a term along the leading directions (Woodbury).
        along = ((centred @ np.asfortranarray(self.directions, np.float64)) ** 2).sum(axis=1)
        squared = (centred**2).sum(axis=1) / self.noise - along
        return np.asarray(np.sqrt(np.maximum(squared, 0.0) / len(self.mean)))


@dataclass(frozen=True)
class FittedOod:
    """A detector, and the limit of its distance."""

    detector: OodDetector
    limit: float
    false_alarms: float
    """Expected share of images like the training images that is beyond the limit, in (0, 1)."""


def fit_ood_detector(
    training: NDArray[np.floating], validation: NDArray[np.floating], levels: int = 0
) -> FittedOod | None:
    """Fit the Gaussian to training features (n, d), and the limit to them and to validation features (m, d).

    The limit is the k-th largest distance of N images that the Gaussian was not fitted to: the validation
    images, and the training images, each scored by a Gaussian fitted to the other four fifths. A further
    image of the same distribution is beyond it with probability k / (N + 1) (split conformal prediction: Vovk
    et al., *Algorithmic Learning in a Random World*, 2005). k is at least 2, so that a single outlier cannot
    determine the limit.

    The result is None with fewer than `MIN_IMAGES` training images or constant features.
    """
    fitted = _gaussian(training, levels) if len(training) >= MIN_IMAGES else None
    if fitted is None:
        return None
    distances = [fitted.distances(validation)] if len(validation) else []
    part = np.arange(len(training)) % PARTS
    for held_out in range(PARTS):
        others = _gaussian(training[part != held_out], levels)
        if others is not None:
            distances.append(others.distances(training[part == held_out]))
    measured = np.sort(np.concatenate(distances))
    k = max(2, int(FALSE_ALARMS * (len(measured) + 1)))
    limit = float(measured[-k])
    return FittedOod(fitted, limit, k / (len(measured) + 1)) if limit > 0 else None


def _gaussian(features: NDArray[np.floating], levels: int) -> OodDetector | None:
    n, d = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    spread = features.std(axis=0, dtype=np.float64)
    scale = np.maximum(spread, LEAST_SCALE * float(np.median(spread)))
    if not scale.min() > 0:
        return None
    _, scales, axes = np.linalg.svd((features.astype(np.float64) - mean) / scale, full_matrices=False)
    variances = scales**2 / (n - 1)
    k = min(DIRECTIONS, n // 4, d - 1)
    noise = float(variances[k:].sum() / (d - k))
    if not noise > 0:
        return None
    scaled = axes[:k].T * np.sqrt(1.0 / noise - 1.0 / np.maximum(variances[:k], noise))
    small = [one.astype(np.float32) for one in (mean, scaled, scale)]
    return OodDetector(small[0], small[1], noise, small[2], levels)
