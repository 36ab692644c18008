"""ROC and precision–recall curves of one score, and the figures that are read off them.

A score tells positives from negatives: an image is called positive at a threshold when its score is at least
that. Definitions as in Fawcett, *An introduction to ROC analysis*, Pattern Recognition Letters 27 (2006). A
figure is NaN without positives or without negatives, since nothing can be ranked then.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.arrays import Booleans, Floats, Multiplicities, divide

MIN_SENSITIVITY = 0.8
"""The partial area of the ISIC 2024 challenge lies above this sensitivity."""
RANKING = (
    "auc",
    "average_precision",
    "partial_auc",
    "sensitivity_at_90_specificity",
    "sensitivity_at_95_specificity",
)
"""The figures of `ranking_figures`."""
# A share of a count, such as 5 % of 20, may come out a rounding error below the whole number that it is.
_ROUNDING = 1e-9


def roc_curve(positive: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """The ROC curve, from (0, 0) to (1, 1); images with the same score are one step.

    Args:
        positive: (n,), whether each image is positive.
        scores: (n,), any finite numbers.

    Returns:
        False-positive rate and true-positive rate, each (distinct scores + 1,), rising; all NaN where there
        are no negatives or no positives respectively.
    """
    hits, false_alarms = _counts_at_thresholds(positive, scores)
    hits, false_alarms = np.concatenate([[0.0], hits]), np.concatenate([[0.0], false_alarms])
    return divide(false_alarms, false_alarms[-1]), divide(hits, hits[-1])


def precision_recall_curve(positive: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """The precision–recall curve: a point for each distinct score as the threshold, the highest first.

    There is no point at recall 0 unless the highest score is a negative's: without any answer there is no
    precision.

    Args:
        positive: (n,), whether each image is positive.
        scores: (n,), any finite numbers.

    Returns:
        Recall, rising to 1, and precision, each (distinct scores,); recall is all NaN without positives.
    """
    hits, false_alarms = _counts_at_thresholds(positive, scores)
    return divide(hits, hits[-1:].sum()), hits / (hits + false_alarms)


def roc_auc(positive: Booleans, scores: Floats) -> float:
    """Area under the ROC curve, in [0, 1]; a pair of equal scores counts half."""
    return float(_area(sweep(positive, scores), 0.0)[0])


def average_precision(positive: Booleans, scores: Floats) -> float:
    """Precision, averaged over the recall: Σ (R_k − R_(k−1)) P_k, in [0, 1]; nothing is interpolated."""
    return float(_average_precision(sweep(positive, scores))[0])


def sensitivity_at_specificity(positive: Booleans, scores: Floats, specificity: float) -> float:
    """The largest sensitivity, in [0, 1], of the thresholds whose specificity is at least the given one."""
    return float(_sensitivity(sweep(positive, scores), specificity)[0])


def partial_auc(positive: Booleans, scores: Floats, min_sensitivity: float = MIN_SENSITIVITY) -> float:
    """Area below the ROC curve and above a sensitivity, in [0, 1 − min_sensitivity]; not rescaled.

    With 0.8 this is the score of the ISIC 2024 challenge (*SLICE-3D*, Kaggle 2024), which computes it as the
    area below the curve with both axes turned round, up to a rate of 0.2.
    """
    return float(_area(sweep(positive, scores), min_sensitivity)[0])


@dataclass(frozen=True)
class Sweep:
    """Counts while the threshold sinks through the distinct scores of the positives, in each resample.

    Sensitivity rises nowhere else, so all figures follow from these thresholds alone.
    """

    thresholds: Floats
    """(thresholds,), falling."""
    hits: Floats
    """(resamples, thresholds): positives at or above the threshold."""
    above: Floats
    """(resamples, thresholds): negatives above the threshold."""
    up_to: Floats
    """(resamples, thresholds): negatives at or above the threshold."""
    positives: Floats
    """(resamples,): all positives."""
    negatives: Floats
    """(resamples,): all negatives."""

    def specific(self, specificity: float) -> Booleans:
        """(resamples, thresholds): whether the specificity is at least the given one."""
        return self.up_to <= ((1 - specificity) * self.negatives + _ROUNDING)[:, None]

    def sensitive(self, sensitivity: float) -> Booleans:
        """(resamples, thresholds): whether the sensitivity is at least the given one."""
        return self.hits >= (sensitivity * self.positives - _ROUNDING)[:, None]


def sweep(positive: Booleans, scores: Floats, weights: Multiplicities | None = None) -> Sweep:
    """Count positives and negatives along the falling threshold.

    Args:
        positive: (n,), whether each image is positive.
        scores: (n,), any finite numbers.
        weights: (resamples, n), the multiplicities; None for one resample that holds each image once.
    """
    weights = np.ones((1, len(scores)), dtype=np.float32) if weights is None else weights
    falling = np.argsort(-scores, kind="stable")
    of_positives, of_negatives = falling[positive[falling]], falling[~positive[falling]]
    ranked = -scores[of_positives]
    last = np.flatnonzero(np.diff(ranked, append=np.inf))
    thresholds, negatives = ranked[last], -scores[of_negatives]
    hits, passed = _running_counts(weights, of_positives), _running_counts(weights, of_negatives)
    return Sweep(
        thresholds=-thresholds,
        hits=_columns(hits, last + 1),
        above=_columns(passed, np.searchsorted(negatives, thresholds, side="left")),
        up_to=_columns(passed, np.searchsorted(negatives, thresholds, side="right")),
        positives=hits[:, -1].astype(np.float64),
        negatives=passed[:, -1].astype(np.float64),
    )


def ranking_figures(
    positive: Booleans, scores: Floats, weights: Multiplicities | None = None
) -> dict[str, Floats]:
    """The figures named in `RANKING`, each (resamples,); the arguments are those of `sweep`."""
    counts = sweep(positive, scores, weights)
    return {
        "auc": _area(counts, 0.0),
        "average_precision": _average_precision(counts),
        "partial_auc": _area(counts, MIN_SENSITIVITY),
        "sensitivity_at_90_specificity": _sensitivity(counts, 0.90),
        "sensitivity_at_95_specificity": _sensitivity(counts, 0.95),
    }


def _counts_at_thresholds(positive: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """Positives and negatives at or above each distinct score, the highest first."""
    falling = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(-scores[falling], append=np.inf))
    hits = np.cumsum(positive[falling])[last].astype(np.float64)
    return hits, last + 1 - hits


def _running_counts(weights: Multiplicities, order: NDArray[np.intp]) -> NDArray[np.int32]:
    """(resamples, len(order) + 1): images among the first 0, 1, 2, … of the order."""
    counts = np.zeros((len(weights), len(order) + 1), dtype=np.int32)
    # Whole numbers are summed five times as fast as floats, whose additions wait for one another.
    np.cumsum(np.take(weights, order, axis=1).astype(np.int32), axis=1, out=counts[:, 1:])
    return counts


def _columns(counts: NDArray[np.int32], columns: NDArray[np.intp]) -> Floats:
    return np.take(counts, columns, axis=1).astype(np.float64)


def _area(counts: Sweep, min_sensitivity: float) -> Floats:
    """Area below the ROC curve and above a sensitivity: the mean specificity over that sensitivity."""
    gained = np.diff(counts.hits, axis=1, prepend=0.0)
    # A step between tied scores is a slope: the negatives are passed evenly while the positives are.
    passed = (counts.above + counts.up_to) / 2
    if min_sensitivity > 0:
        unwanted = min_sensitivity * counts.positives[:, None] - (counts.hits - gained)
        lost = np.clip(unwanted, 0.0, gained)
        passed += (
            (counts.up_to - counts.above)
            / 2
            * np.divide(lost, gained, out=np.zeros_like(lost), where=gained > 0)
        )
        gained -= lost
    kept = (gained * (counts.negatives[:, None] - passed)).sum(axis=1)
    area: Floats = divide(kept, counts.positives * counts.negatives)
    return area


def _average_precision(counts: Sweep) -> Floats:
    gained = np.diff(counts.hits, axis=1, prepend=0.0)
    answers = counts.hits + counts.up_to
    precision = np.divide(counts.hits, answers, out=np.zeros_like(answers), where=answers > 0)
    return _where_defined(counts, divide((gained * precision).sum(axis=1), counts.positives))


def _sensitivity(counts: Sweep, specificity: float) -> Floats:
    reached = np.where(counts.specific(specificity), counts.hits, 0.0).max(axis=1, initial=0.0)
    return _where_defined(counts, divide(reached, counts.positives))


def _where_defined(counts: Sweep, figures: Floats) -> Floats:
    return np.where((counts.positives > 0) & (counts.negatives > 0), figures, np.nan)
