"""Selective prediction: predicting only where the model is confident, and what that gains.

A threshold on the confidence splits the images into answered ones (at or above it) and rejected ones.
Coverage is the share that is answered, risk the error rate among them (Geifman and El-Yaniv, *Selective
Classification for Deep Neural Networks*, NeurIPS 2017).

Everywhere, `confidence` is (n,), and so is `hits`: 1 for a correct prediction, else 0.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinlesion_cli.metrics.arrays import Floats, Ints, Multiplicities, divide, number
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.calibration import confidence_and_hits
from skinlesion_cli.metrics.exact import counts_of, intervals
from skinlesion_cli.metrics.packed import Packed
from skinlesion_cli.metrics.predictions import Predictions

# Of the curve in a document: one for each percent of coverage.
POINTS = 101
TARGET = (
    *("threshold", "validation_coverage", "validation_accuracy"),
    *("coverage", "accuracy_reached", "answered", "ci95", "exact_n"),
)
"""The figures of `target_document`."""


@dataclass(frozen=True)
class Threshold:
    """A threshold on the confidence, and what it did on the images that it was chosen on."""

    confidence: float
    """The lowest that is answered."""
    coverage: float
    accuracy: float
    """Of the `n` answered images."""
    n: int


def risk_coverage(confidence: Floats, hits: Floats) -> tuple[Floats, Floats]:
    """Coverage and risk at every threshold that makes a difference.

    Both are (distinct confidences,), from the highest threshold to the lowest, where coverage is 1. Images of
    equal confidence are answered together, so that their order changes nothing.
    """
    _, answered, right = _at_every_threshold(confidence, hits)
    return answered / len(confidence), 1.0 - right / answered


def area_under_risk_coverage(coverage: Floats, risk: Floats) -> float:
    """AURC: the mean, over all images, of the risk at the threshold that just answers the image.

    This is the estimator of Geifman, Uziel and El-Yaniv, *Bias-Reduced Uncertainty Estimation for Deep Neural
    Classifiers*, ICLR 2019, with one threshold for images of equal confidence. As a sum over the curve it is
    Σ_j (coverage_j − coverage_{j−1}) risk_j, from 0 to 1. Lower is better; NaN for no images.
    """
    return float((np.diff(coverage, prepend=0.0) * risk).sum()) if len(coverage) else math.nan


def threshold_for_accuracy(confidence: Floats, hits: Floats, target: float) -> Threshold | None:
    """The lowest threshold at which at least a share `target` of the answered images is right, or None.

    To be chosen on validation images. Since it is the best of many thresholds, other images reach the target
    only approximately; there is no guarantee.
    """
    values, answered, right = _at_every_threshold(confidence, hits)
    # Quotients of counts, so that nine of ten reach 0.9: one minus the risk is a rounding error below it.
    reached = np.flatnonzero(right / answered >= target)
    if not len(reached):
        return None
    last, n = reached[-1], int(answered[reached[-1]])
    return Threshold(float(values[last]), n / len(confidence), float(right[last] / n), n)


def at_threshold(confidence: Floats, hits: Floats, threshold: float) -> tuple[float, float, int]:
    """Coverage, accuracy of the answered images (NaN if there are none) and their number."""
    answered = confidence >= threshold
    n = int(answered.sum())
    return n / len(confidence), float(hits[answered].mean()) if n else math.nan, n


def selective_document(
    predictions: Predictions,
    bootstrap: Bootstrap,
    target: float | None = None,
    validation: Predictions | None = None,
) -> dict[str, Any]:
    """The evaluation document's section on selective prediction.

    A `target`, the accuracy to reach on the answered images, requires `validation`: predictions of the same
    model on the images that the threshold is chosen on (see `target_document`). What cannot be computed is
    None; without probabilities there is no curve.
    """
    if target is not None and validation is None:
        raise ValueError("a threshold is chosen on validation predictions, and none were given")
    found, of_validation = confidence_and_hits(predictions), validation and confidence_and_hits(validation)
    if found is None:
        return {"aurc": None, "ci95": {"aurc": None}, "exact_n": {}, "risk_coverage": [], "target": None}
    coverage, risk = risk_coverage(*found)
    area = area_under_risk_coverage(coverage, risk)
    everything = counts_of(bootstrap, {"aurc": np.ones(len(predictions), dtype=bool)})
    document: dict[str, Any] = {
        "aurc": number(area),
        **intervals({"aurc": area}, {"aurc": _resampled_area(*found, bootstrap)}, everything),
        "risk_coverage": _thinned(coverage, risk),
        "target": None,
    }
    if target is not None:
        threshold = threshold_for_accuracy(*of_validation, target) if of_validation else None
        document["target"] = target_document(*found, target, threshold, bootstrap)
    return document


def target_document(
    confidence: Floats, hits: Floats, target: float, threshold: Threshold | None, bootstrap: Bootstrap
) -> dict[str, Any]:
    """What a threshold that was chosen on other images does on these; it is None if none reached the target.

    Figures without a threshold are None.
    """
    if threshold is None:
        return {"accuracy": target, **dict.fromkeys(TARGET)}
    coverage, accuracy, n = at_threshold(confidence, hits, threshold.confidence)
    answered = confidence >= threshold.confidence
    share, right = bootstrap.means(np.column_stack([answered, answered * hits])).T
    return {
        "accuracy": target,
        "threshold": threshold.confidence,
        "validation_coverage": threshold.coverage,
        "validation_accuracy": threshold.accuracy,
        "coverage": coverage,
        "accuracy_reached": number(accuracy),
        "answered": n,
        **intervals(
            {"coverage": coverage, "accuracy_reached": accuracy},
            {"coverage": share, "accuracy_reached": divide(right, share)},
            counts_of(bootstrap, {"coverage": np.ones_like(answered), "accuracy_reached": answered}),
        ),
    }


def _at_every_threshold(confidence: Floats, hits: Floats) -> tuple[Floats, Ints, Floats]:
    """The distinct confidences from high to low; how many images each answers, and how many of them right."""
    order, last = _order(confidence)
    return confidence[order[last]], last + 1, np.cumsum(hits[order])[last]


def _order(confidence: Floats) -> tuple[Ints, Ints]:
    """Images by falling confidence, and the positions in that order at which a run of equals ends."""
    order = np.argsort(-confidence, kind="stable")
    ends = np.diff(confidence[order], append=-np.inf) != 0
    return order, np.flatnonzero(ends)


def _resampled_area(confidence: Floats, hits: Floats, bootstrap: Bootstrap) -> Floats:
    """The area of each resample: (resamples,)."""
    order, last = _order(confidence)
    errors = hits[order] == 0
    errors_up_to = np.cumsum(errors)[last]

    def areas(weights: Multiplicities) -> Floats:
        packed = Packed(weights)
        (answered,), (wrong,) = packed.running(order, last + 1), packed.running(order[errors], errors_up_to)
        risk = np.divide(wrong, np.maximum(answered, 1.0), out=wrong)
        # A run that a resample lacks answers no new image, and so has no weight.
        area: Floats = np.vecdot(np.diff(answered, axis=1, prepend=0.0), risk) / packed.totals
        return area

    return np.concatenate(bootstrap.mapped(areas))


def _thinned(coverage: Floats, risk: Floats) -> list[list[float]]:
    positions = np.unique(np.searchsorted(coverage, np.arange(POINTS) / (POINTS - 1)))
    return [[float(coverage[i]), float(risk[i])] for i in positions]
