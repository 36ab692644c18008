"""Means over images in every bootstrap resample, and what follows from such means.

Accuracy, recall, likelihood, the gap of a confidence bin: each is a mean over the images, or a quotient of
two. All of them in all resamples are one matrix product.
"""

from collections.abc import Sequence

import numpy as np

from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.metrics.bootstrap import RESAMPLES, image_multiplicities


def resampled_means(
    columns: Floats, groups: Sequence[str] | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """The mean of each column over the images of each resample.

    Args:
        columns: (n, columns), a value of each image in each.
        groups: lesion or patient of each image, to resample whole groups; None takes images as independent.
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        (resamples, columns).
    """
    means = []
    for weights in image_multiplicities(len(columns), groups, resamples, seed):
        means.append(weights @ columns / weights.sum(axis=1, keepdims=True, dtype=np.float64))
    return np.concatenate(means)
