"""The metrics that follow from the ROC and precision–recall curves of one score.

An image is called positive at a threshold when its score is at least the threshold. Definitions as in
Fawcett, *An introduction to ROC analysis*, Pattern Recognition Letters 27 (2006). A metric is NaN without
positives or without negatives. One sweep serves all bootstrap resamples, whereas scikit-learn's functions
take one set of weights per call; the tests check every metric against scikit-learn, which draws the curves.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skinlesion_cli.metrics.arrays import Booleans, Floats, Multiplicities, divide
from skinlesion_cli.metrics.packed import Packed

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

    @cached_property
    def gained(self) -> Floats:
        """(resamples, thresholds): positives at the threshold."""
        return np.diff(self.hits, axis=1, prepend=0.0)

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
        wanted = min_sensitivity * self.positives[:, None]
        # At the thresholds before, no resample has an area.
        first = int(np.count_nonzero(self.hits <= wanted, axis=1).min()) if min_sensitivity > 0 else 0
        hits, gained, above, up_to = (
            counts[:, first:] for counts in (self.hits, self.gained, self.above, self.up_to)
        )
        # A step between tied scores is a slope: negatives are passed evenly while the positives are.
        passed = (above + up_to) / 2
        if min_sensitivity > 0:
            lost = np.clip(wanted - (hits - gained), 0.0, gained)
            share = np.divide(lost, gained, out=np.zeros_like(lost), where=gained > 0)
            passed += (up_to - above) / 2 * share
            gained = gained - lost
        kept = np.vecdot(gained, self.negatives[:, None] - passed)
        return self._where_defined(divide(kept, self.positives * self.negatives))

    def average_precision(self) -> Floats:
        """(resamples,): Σ (R_k − R_(k−1)) P_k, in [0, 1], R recall and P precision; not interpolated."""
        precision = self.hits / np.maximum(self.hits + self.up_to, 1.0)
        return self._where_defined(divide(np.vecdot(self.gained, precision), self.positives))

    def sensitivity(self, specificity: float) -> Floats:
        """(resamples,): the largest sensitivity among the thresholds with at least the given specificity."""
        # Specificity only falls, so these thresholds are the first ones.
        reached = np.vecdot(self.gained, self.specific(specificity))
        return self._where_defined(divide(reached, self.positives))

    def _where_defined(self, figures: Floats) -> Floats:
        return np.where((self.positives > 0) & (self.negatives > 0), figures, np.nan)


class Ranking:
    """Images in the order of their scores, for arrays (n,); sorted once for any number of resamples."""

    def __init__(self, positive: Booleans, scores: Floats):
        falling = np.argsort(-scores)
        self._positives, self._negatives = falling[positive[falling]], falling[~positive[falling]]
        self._last = np.flatnonzero(np.diff(scores[self._positives], append=-np.inf))
        self._thresholds, negatives = scores[self._positives[self._last]], -scores[self._negatives]
        self._above = np.searchsorted(negatives, -self._thresholds, side="left")
        self._up_to = np.searchsorted(negatives, -self._thresholds, side="right")

    def sweep(self, packed: Packed) -> Sweep:
        """Count along the falling threshold."""
        (hits,) = packed.running(self._positives, self._last + 1)
        above, up_to = packed.running(self._negatives, self._above, self._up_to)
        positives = hits[:, -1] if len(self._last) else np.zeros(packed.resamples)
        return Sweep(self._thresholds, hits, above, up_to, positives, packed.totals - positives)

    def figures(self, packed: Packed) -> dict[str, Floats]:
        """The figures named in `RANKING`, each (resamples,)."""
        return _figures_of(self.sweep(packed))


def sweep(positive: Booleans, scores: Floats, weights: Multiplicities | None = None) -> Sweep:
    """Count along the falling threshold, for arrays (n,); None for `weights` takes each image once."""
    once = np.ones((1, len(scores)), dtype=np.uint8)
    return Ranking(positive, scores).sweep(Packed(once if weights is None else weights))


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
