"""Means over images in every bootstrap resample, and what follows from such means.

Accuracy, recall, likelihood, the gap of a confidence bin: each is a mean over the images, or a quotient of
two. All of them in all resamples are one matrix product.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.core.bootstrap import RESAMPLES, _multiplicities
from skinlesion_cli.core.metrics import Floats


def image_multiplicities(
    n: int, groups: Sequence[str] | None, resamples: int, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Yield (some resamples, n): how often each resample drew each of n images.

    With groups, whole groups are drawn. The same seed draws the same resamples of as many images or groups,
    as in `bootstrap.resampled_summary`.
    """
    members = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    for drawn in _multiplicities(int(members.max()) + 1, resamples, np.random.default_rng(seed)):
        yield drawn if groups is None else drawn[:, members]


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
