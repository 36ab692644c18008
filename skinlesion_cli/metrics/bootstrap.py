"""Percentile bootstrap intervals (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, ch. 13).

Images, or whole groups of them, are resampled with replacement. A resample is a row of multiplicities, so
that all figures of many resamples come from a few matrix products instead of a loop over them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from skinlesion_cli.metrics.arrays import Floats, Multiplicities
from skinlesion_cli.metrics.classification import SUMMARY, figures
from skinlesion_cli.metrics.predictions import Predictions

RESAMPLES = 2000
LEVEL = 0.95
# Multiplicities in hand at once. All that is counted from them takes about thirty times as many bytes.
_CELLS = 8_000_000


def resampled_summary(
    predictions: Predictions,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Every summary figure of every resample: (resamples,), NaN where it is undefined.

    The arguments are those of `resampled_figures`.
    """
    drawn = resampled_figures(predictions, groups, resamples=resamples, seed=seed)
    return {name: drawn[name] for name in SUMMARY}


def resampled_figures(
    predictions: Predictions,
    groups: Sequence[str] | None = None,
    *,
    labels: Sequence[int] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Every figure of every resample, NaN where it is undefined.

    Args:
        predictions: with known truth.
        groups: lesion or patient of each image. Whole groups are then resampled, because images of one group
            err together; None takes the images as independent.
        labels: the classes that count in macro F1, by index; None takes those that occur in the resample.
        resamples: number of resamples.
        seed: of the resampling; the same seed draws the same resamples of as many images or groups, so that
            two models' figures can be paired.

    Returns:
        The figures of `metrics.SUMMARY`, each (resamples,), and those of `metrics.PER_CLASS`, each
        (resamples, classes).
    """
    return over_resamples(
        lambda weights: figures(predictions, weights, labels),
        len(predictions),
        groups,
        resamples=resamples,
        seed=seed,
    )


def over_resamples(
    figures_of: Callable[[Multiplicities], Mapping[str, Floats]],
    n: int,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Compute figures in every resample.

    Args:
        figures_of: gives the figures of some resamples from their multiplicities, each (resamples, …).
        n: number of images.
        groups: lesion or patient of each image, to resample whole groups; None takes images as independent.
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        The figures of all resamples, each (resamples, …).
    """
    parts = [figures_of(weights) for weights in image_multiplicities(n, groups, resamples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95 % of the values that are defined; (NaN, NaN) where none is."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def image_multiplicities(
    n: int, groups: Sequence[str] | None, resamples: int, seed: int
) -> Iterator[Multiplicities]:
    """Yield (some resamples, n): how often each resample holds each image, by groups where there are any."""
    members = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    rows = max(1, _CELLS // n)
    generator = np.random.default_rng(seed)
    for drawn in _multiplicities(int(members.max()) + 1, resamples, generator, rows):
        yield drawn if groups is None else np.take(drawn, members, axis=1)


def _multiplicities(
    n: int, resamples: int, generator: np.random.Generator, most: int
) -> Iterator[Multiplicities]:
    """Yield (at most `most` resamples, n): how often each resample drew each of n things."""
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        drawn = generator.integers(n, size=(rows, n))
        drawn += np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float32)
