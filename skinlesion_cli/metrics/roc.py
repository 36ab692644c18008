"""The metrics that follow from the ROC and precision–recall curves of one score.

An image is called positive at a threshold when its score is at least the threshold. Definitions as in
Fawcett, *An introduction to ROC analysis*, Pattern Recognition Letters 27 (2006). A metric is NaN without
positives or without negatives. One sweep serves all bootstrap resamples, whereas scikit-learn's functions
take one set of weights per call; the tests check every metric against scikit-learn, which draws the curves.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.arrays import Booleans, Floats, Multiplicities, divide

MIN_SENSITIVITY = 0.8
"""The partial area of the ISIC 2024 challenge is the one above this sensitivity."""
RANKING = (
    *("auc", "average_precision", "partial_auc"),
    *("sensitivity_at_90_specificity", "sensitivity_at_95_specificity"),
)
# A share of a count, such as 5% of 20, may be a rounding error below the whole number that it should be.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Sweep:
    """Counts in each resample while the threshold falls through the distinct scores of the positives.

    Sensitivity rises nowhere else, so all figures follow from these thresholds alone. `thresholds` are
    (thresholds,), falling; `positives` and `negatives` are all there are in each resample, (resamples,).
    """

    thresholds: Floats
    hits: Floats
    """(resamples, thresholds): positives at or above the threshold."""
    above: Floats
    """(resamples, thresholds): negatives above the threshold."""
    up_to: Floats
    """(resamples, thresholds): negatives at or above the threshold."""
    positives: Floats
    negatives: Floats

    def specific(self, specificity: float) -> Booleans:
        """(resamples, thresholds): whether the specificity is at least the given one."""
        return self.up_to <= ((1 - specificity) * self.negatives + _ROUNDING)[:, None]

    def sensitive(self, sensitivity: float) -> Booleans:
        """(resamples, thresholds): whether the sensitivity is at least the given one."""
        return self.hits >= (sensitivity * self.positives - _ROUNDING)[:, None]

    def area(self, min_sensitivity: float = 0.0) -> Floats:
        """(resamples,): area under the ROC curve above a sensitivity, in [0, 1 − min_sensitivity].

        A pair of equal scores counts half. With 0.8 it is the score of the ISIC 2024 challenge (*SLICE-3D*,
        Kaggle 2024), which flips both axes and takes the area up to a rate of 0.2.
        """
        gained = np.diff(self.hits, axis=1, prepend=0.0)
        # A step between tied scores is a slope: negatives are passed evenly while the positives are.
        passed = (self.above + self.up_to) / 2
        if min_sensitivity > 0:
            unwanted = min_sensitivity * self.positives[:, None] - (self.hits - gained)
            lost = np.clip(unwanted, 0.0, gained)
            share = np.divide(lost, gained, out=np.zeros_like(lost), where=gained > 0)
            passed += (self.up_to - self.above) / 2 * share
            gained -= lost
        kept = (gained * (self.negatives[:, None] - passed)).sum(axis=1)
        return self._where_defined(divide(kept, self.positives * self.negatives))

    def average_precision(self) -> Floats:
        """(resamples,): Σ (R_k − R_(k−1)) P_k, in [0, 1], R recall and P precision; not interpolated."""
        gained = np.diff(self.hits, axis=1, prepend=0.0)
        called = self.hits + self.up_to
        precision = np.divide(self.hits, called, out=np.zeros_like(called), where=called > 0)
        return self._where_defined(divide((gained * precision).sum(axis=1), self.positives))

    def sensitivity(self, specificity: float) -> Floats:
        """(resamples,): the largest sensitivity among the thresholds with at least the given specificity."""
        reached = np.where(self.specific(specificity), self.hits, 0.0).max(axis=1, initial=0.0)
        return self._where_defined(divide(reached, self.positives))

    def _where_defined(self, figures: Floats) -> Floats:
        return np.where((self.positives > 0) & (self.negatives > 0), figures, np.nan)


class Ranking:
    """Images in the order of their scores, for arrays (n,); sorted once for any number of resamples."""

    def __init__(self, positive: Booleans, scores: Floats):
        falling = np.argsort(-scores, kind="stable")
        self._positives, self._negatives = falling[positive[falling]], falling[~positive[falling]]
        self._last = np.flatnonzero(np.diff(scores[self._positives], append=-np.inf))
        self._thresholds, negatives = scores[self._positives[self._last]], -scores[self._negatives]
        self._above = np.searchsorted(negatives, -self._thresholds, side="left")
        self._up_to = np.searchsorted(negatives, -self._thresholds, side="right")

    def sweep(self, weights: NDArray[Any]) -> Sweep:
        """Count along the falling threshold; the multiplicities may be of any type of numbers."""
        hits, passed = _running_counts(weights, self._positives), _running_counts(weights, self._negatives)
        return Sweep(
            thresholds=self._thresholds,
            hits=_columns(hits, self._last + 1),
            above=_columns(passed, self._above),
            up_to=_columns(passed, self._up_to),
            positives=hits[:, -1].astype(np.float64),
            negatives=passed[:, -1].astype(np.float64),
        )

    def figures(self, weights: NDArray[Any]) -> dict[str, Floats]:
        """The figures named in `RANKING`, each (resamples,)."""
        return _figures_of(self.sweep(weights))


def sweep(positive: Booleans, scores: Floats, weights: Multiplicities | None = None) -> Sweep:
    """Count along the falling threshold, for arrays (n,); None for `weights` takes each image once."""
    once = np.ones((1, len(scores)), dtype=np.float32)
    return Ranking(positive, scores).sweep(once if weights is None else weights)


def ranking_figures(
    positive: Booleans, scores: Floats, weights: Multiplicities | None = None
) -> dict[str, Floats]:
    """The figures named in `RANKING`, each (resamples,); the arguments are those of `sweep`."""
    return _figures_of(sweep(positive, scores, weights))


def _figures_of(counts: Sweep) -> dict[str, Floats]:
    return {
        "auc": counts.area(),
        "average_precision": counts.average_precision(),
        "partial_auc": counts.area(MIN_SENSITIVITY),
        "sensitivity_at_90_specificity": counts.sensitivity(0.90),
        "sensitivity_at_95_specificity": counts.sensitivity(0.95),
    }


def _running_counts(weights: NDArray[Any], order: NDArray[np.intp]) -> NDArray[np.int32]:
    """(resamples, len(order) + 1): images among the first 0, 1, 2, … of the order."""
    counts = np.zeros((len(weights), len(order) + 1), dtype=np.int32)
    taken = np.take(weights, order, axis=1)
    # Cumulative sums of integers are five times as fast as those of floats.
    taken = taken.astype(np.int32) if taken.dtype.kind == "f" else taken
    np.cumsum(taken, axis=1, dtype=np.int32, out=counts[:, 1:])
    return counts


def _columns(counts: NDArray[np.int32], columns: NDArray[np.intp]) -> Floats:
    return np.take(counts, columns, axis=1).astype(np.float64)
