"""Percentile bootstrap intervals (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, ch. 13).

Images, or whole groups of them, are resampled with replacement. A resample is a row of multiplicities, so
that all figures of many resamples come from a few matrix products instead of a loop over them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.core.metrics import (
    SUMMARY,
    Floats,
    Ints,
    confusion_summary,
    negative_log_likelihood,
    weighted_mean,
)
from skinlesion_cli.core.predictions import Predictions

RESAMPLES = 2000
LEVEL = 0.95
# Resamples in hand at once: bounds the memory at about this many multiplicities.
_CELLS = 20_000_000


def summary_intervals(
    predictions: Predictions,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % interval of every summary figure; (NaN, NaN) where the figure is undefined.

    Its arguments are those of `resampled_summary`.
    """
    drawn = resampled_summary(predictions, groups, resamples=resamples, seed=seed)
    return {name: interval(values) for name, values in drawn.items()}


def resampled_summary(
    predictions: Predictions,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Every summary figure of every resample: (resamples,), NaN where it is undefined.

    Args:
        predictions: with known truth.
        groups: lesion or patient of each image. Whole groups are then resampled, because images of one group
            err together; None takes the images as independent.
        resamples: number of resamples.
        seed: of the resampling; the same seed draws the same resamples of as many images or groups, so that
            two models' figures can be paired.
    """
    assert predictions.true is not None
    drawn: dict[str, list[Floats]] = {name: [] for name in SUMMARY}
    nll = negative_log_likelihood(predictions)
    pairs = _one_hot(predictions.true, predictions.predicted, len(predictions.classes))
    members = np.unique(groups, return_inverse=True)[1] if groups is not None else np.arange(len(nll))
    for drawn_groups in _multiplicities(int(members.max()) + 1, resamples, np.random.default_rng(seed)):
        weights = drawn_groups[:, members]
        k = len(predictions.classes)
        confusions = np.rint(weights @ pairs).reshape(-1, k, k)
        figures = confusion_summary(confusions)
        figures["loss"] = weights @ nll / weights.sum(axis=1)
        figures["weighted_auc"] = np.full(len(weights), np.nan)
        if predictions.probabilities is not None:
            areas = _weighted_auc(predictions.true, predictions.probabilities, weights)
            figures["weighted_auc"] = weighted_mean(areas, confusions.sum(axis=-1))
        for name in SUMMARY:
            drawn[name].append(figures[name])
    return {name: np.concatenate(values) for name, values in drawn.items()}


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95 % of the values that are defined; (NaN, NaN) where none is."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _one_hot(true: Ints, predicted: Ints, classes: int) -> NDArray[np.float32]:
    pairs = np.zeros((len(true), classes * classes), dtype=np.float32)
    pairs[np.arange(len(true)), true * classes + predicted] = 1
    return pairs


def _multiplicities(n: int, resamples: int, generator: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """Yield (some resamples, n): how often each resample drew each of n things."""
    block = max(1, _CELLS // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(n, size=(rows, n))
        drawn += np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float32)


def _weighted_auc(true: Ints, probabilities: Floats, weights: NDArray[np.float32]) -> Floats:
    """One-vs-rest AUC of each class in each resample: (resamples, classes)."""
    areas = np.full((len(weights), probabilities.shape[1]), np.nan)
    for label in range(probabilities.shape[1]):
        positive = true == label
        order = np.flatnonzero(~positive)[np.argsort(probabilities[~positive, label])]
        sorted_scores = probabilities[order, label]
        scores = probabilities[positive, label]
        # below[r, i] counts the negatives of resample r among the i lowest.
        below = np.zeros((len(weights), len(order) + 1))
        np.cumsum(weights[:, order], axis=1, out=below[:, 1:])
        left = np.searchsorted(sorted_scores, scores, side="left")
        right = np.searchsorted(sorted_scores, scores, side="right")
        of_positives = weights[:, positive]
        won = (of_positives * (below[:, left] + below[:, right])).sum(axis=1) / 2.0
        pairs = of_positives.sum(axis=1, dtype=np.float64) * below[:, -1]
        np.divide(won, pairs, out=areas[:, label], where=pairs > 0)
    return areas
