"""Calibration: whether predictions with confidence p are correct in a fraction p of all cases.

The confidence of a prediction is the probability of the predicted class. Temperature, reliability diagram and
expected calibration error (ECE) are those of Guo et al., *On Calibration of Modern Neural Networks*, ICML
2017. The softmax is numpy's and not scipy's: importing scipy.special takes longer than a prediction.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.arrays import Floats, Ints, Multiplicities, bounds, divide, number
from skinlesion_cli.metrics.bootstrap import Bootstrap, interval
from skinlesion_cli.metrics.classification import negative_log_likelihood
from skinlesion_cli.metrics.exact import as_document, counts_of, interval_or_exact
from skinlesion_cli.metrics.packed import Labelled
from skinlesion_cli.metrics.predictions import Predictions

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
FIGURES = ("nll", "brier", "ece", "ece_equal_mass")


@dataclass(frozen=True)
class Bin:
    """The predictions whose confidence is in (low, high]; NaN if there are none."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """The share of them that is right."""


def softmax(logits: NDArray[np.floating], temperature: float | None = None) -> Floats:
    """Probabilities of logits divided by a temperature, in float64: a very small one does not become 0.

    This is the one place where a temperature is applied (Guo et al. 2017, section 4.2). Logits and
    probabilities are (…, classes); the temperature is above 0, or None for no calibration.
    """
    scaled = logits.astype(np.float64) / (1.0 if temperature is None else temperature)
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def fit_temperature(logits: Floats, true: Ints) -> float:
    """The temperature T with the least negative log-likelihood of softmax(logits / T).

    The negative log-likelihood is convex in 1 / T, so its slope has one root (Guo et al. 2017, section 4.2).
    T is between 0.05 and 20; if the optimum is outside, it is the nearer bound. It is 1 if nothing can be
    learned: with fewer than two images, or if every true class is the most probable one, so that the
    likelihood only grows as T falls. `logits` (n, classes) are those of the validation images, `true` (n,)
    indices of classes.
    """
    of_true = logits[np.arange(len(true)), true]
    if len(true) < 2 or (of_true >= logits.max(axis=1)).all():
        return 1.0

    def slope(log_temperature: float) -> float:
        """Of the negative log-likelihood in 1 / T: where it is above 0, a lower 1 / T is better."""
        expected = (softmax(logits, float(np.exp(log_temperature))) * logits).sum(axis=1)
        return float((expected - of_true).mean())

    cold, hot = np.log([COLDEST, HOTTEST])
    if slope(cold) <= 0:
        return COLDEST
    if slope(hot) >= 0:
        return HOTTEST
    from scipy.optimize import brentq

    return float(np.exp(brentq(slope, cold, hot)))


def uncalibrated(predictions: Predictions) -> Predictions:
    """The predictions with the probabilities of their logits, without a temperature."""
    if predictions.logits is None or predictions.temperature is None:
        return predictions
    return dataclasses.replace(predictions, probabilities=softmax(predictions.logits), temperature=None)


def confidence_and_hits(predictions: Predictions) -> tuple[Floats, Floats] | None:
    """Confidence of each prediction, and whether it is right (1 or 0): two (n,); None if unknown."""
    if predictions.probabilities is None:
        return None
    confidence = predictions.probabilities[np.arange(len(predictions)), predictions.predicted]
    return confidence, (predictions.predicted == predictions.true).astype(np.float64)


def reliability(confidence: Floats, hits: Floats, bins: int = BINS, *, equal_mass: bool = False) -> list[Bin]:
    """The bins of the reliability diagram, from low to high, over [0, 1]; a confidence of 0 is in the first.

    With `equal_mass`, the numbers of images per bin are as equal as ties allow; otherwise the widths are
    equal. Equal confidences stay in one bin, so that the order of the images does not matter.
    """
    edges = _edges(confidence, bins, equal_mass)
    held = _one_hot(_bin_of(confidence, edges), bins).astype(bool)
    return [
        Bin(float(low), float(high), int(inside.sum()), _mean(confidence[inside]), _mean(hits[inside]))
        for low, high, inside in zip(edges[:-1], edges[1:], held.T, strict=True)
    ]


def calibration_document(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    """The evaluation document's section on calibration; predictions with a temperature also have logits.

    `before` and `after` the temperature have the same figures; `reliability` are the bins of the final
    probabilities, each with the 95% interval of its accuracy. What cannot be computed is None; without
    probabilities there are no bins.
    """
    temperature, final = predictions.temperature, confidence_and_hits(predictions)
    return {
        "temperature": temperature,
        "before": _figures(uncalibrated(predictions), bootstrap),
        "after": None if temperature is None or final is None else _figures(predictions, bootstrap),
        "reliability": [] if final is None else _bins(*final, bootstrap),
    }


def _bins(confidence: Floats, hits: Floats, bootstrap: Bootstrap) -> list[dict[str, Any]]:
    bin_of = _bin_of(confidence, _edges(confidence, BINS, False))
    counted = bootstrap.tally(bin_of + BINS * (hits > 0), 2 * BINS)
    wrong, right = np.split(counted, 2, axis=1)
    drawn, counts = divide(right, wrong + right), bootstrap.units(_one_hot(bin_of, BINS).astype(bool))
    rows = []
    for place, one in enumerate(reliability(confidence, hits)):
        ends, exact = interval_or_exact(
            "accuracy", one.accuracy, interval(drawn[:, place]), float(counts[place])
        )
        found = {"confidence": number(one.confidence), "accuracy": number(one.accuracy)}
        rows.append(dataclasses.asdict(one) | found | {"ci95": bounds(ends), "exact_n": exact})
    return rows


def _figures(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    found = confidence_and_hits(predictions)
    if found is None or predictions.probabilities is None:
        return {**dict.fromkeys(FIGURES), "ci95": dict.fromkeys(FIGURES), "exact_n": {}}
    # Brier 1950: squared errors summed over all classes, from 0 to 2.
    errors = predictions.probabilities - _one_hot(predictions.true, len(predictions.classes))
    losses = np.column_stack([negative_log_likelihood(predictions), (errors**2).sum(axis=1)])
    means_of = _Means(losses, *found)
    means = means_of(np.ones((1, len(predictions)), dtype=np.uint8))[0]
    drawn = np.concatenate(bootstrap.mapped(means_of))
    of_bins = slice(2, 2 + BINS), slice(2 + BINS, None)
    measured = [*means[:2], *(np.abs(means[bins]).sum() for bins in of_bins)]
    intervals = [
        *(interval(values) for values in drawn.T[:2]),
        *(_error_interval(means[bins], drawn[:, bins]) for bins in of_bins),
    ]
    n = counts_of(bootstrap, {"n": np.ones(len(predictions), dtype=bool)})["n"]
    # A likelihood has no bound, and so no interval if all resamples agree.
    made = {
        name: interval_or_exact(name, float(value), ends, None if name == "nll" else n)
        for name, value, ends in zip(FIGURES, measured, intervals, strict=True)
    }
    return {name: number(value) for name, value in zip(FIGURES, measured, strict=True)} | as_document(made)


def _error_interval(gaps: Floats, drawn: Floats) -> tuple[float, float]:
    """95% interval of an ECE, the sum of |gap| over the bins.

    Chance alone increases the sum, in the sample and in each resample of it, so the percentile interval of a
    well calibrated model is entirely above its true error. The upper end is kept. For the lower end, what
    chance may have added is subtracted from the sum: for a bin with a clear sign its own error, for any other
    the absolute error, which bounds it. tests/benchmarks/coverage.py measures both. `gaps` are those of the
    sample, (bins,), `drawn` those of the resamples, (resamples, bins).
    """
    _, high = interval(np.abs(drawn).sum(axis=1))
    clear = np.abs(gaps) > 2 * drawn.std(axis=0)
    added = np.where(clear, np.sign(gaps) * (drawn - gaps), np.abs(drawn - gaps)).sum(axis=1)
    return max(0.0, float(np.abs(gaps).sum()) - max(0.0, interval(added)[1])), high


class _Means:
    """Means over resamples of the losses (n, columns), and of hit − confidence in the bins of either kind."""

    def __init__(self, losses: Floats, confidence: Floats, hits: Floats):
        bins, of_mass = (_bin_of(confidence, _edges(confidence, BINS, kind)) for kind in (False, True))
        # The images that share both bins are summed up once for the two.
        self._cells = Labelled(bins * BINS + of_mass, BINS**2)
        self._held = np.hstack([_one_hot(kind, BINS) for kind in np.divmod(self._cells.found, BINS)])
        self._losses, self._gaps = losses[self._cells.order], (hits - confidence)[self._cells.order]

    def __call__(self, weights: Multiplicities) -> Floats:
        """The means: (resamples, columns + 2 BINS)."""
        taken = np.take(weights, self._cells.order, axis=1).astype(np.float64)
        of_cells = np.add.reduceat(taken * self._gaps, self._cells.starts, axis=1)
        sums = np.hstack([taken @ self._losses, of_cells @ self._held])
        return np.asarray(sums / taken.sum(axis=1, keepdims=True))


def _edges(confidence: Floats, bins: int, equal_mass: bool) -> Floats:
    """(bins + 1,), from 0 to 1, not falling."""
    shares = np.arange(bins + 1) / bins
    if not equal_mass or not len(confidence):
        return shares
    # The highest confidence of each bin: that of the image at which the bin's share is reached.
    last = -(-np.arange(1, bins) * len(confidence) // bins) - 1
    return np.array([0.0, *np.sort(confidence)[last], 1.0])


def _bin_of(confidence: Floats, edges: Floats) -> Ints:
    bins: Ints = np.searchsorted(edges[1:-1], confidence, side="left")
    return bins


def _one_hot(labels: Ints, classes: int) -> Floats:
    return np.asarray(labels[:, None] == np.arange(classes), dtype=np.float64)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
