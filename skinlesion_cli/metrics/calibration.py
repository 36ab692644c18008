"""Calibration: whether answers that are given with confidence p are right in a share p of all cases.

The confidence of an answer is the probability of the class that it names. Temperature, reliability diagram
and expected calibration error are those of Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.arrays import Floats, Ints
from skinlesion_cli.metrics.bootstrap import RESAMPLES, interval
from skinlesion_cli.metrics.classification import negative_log_likelihood
from skinlesion_cli.metrics.documents import bounds, number
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.resampling import resampled_means

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
FIGURES = ("nll", "brier", "ece", "ece_equal_mass")
# A probability 0 in single precision is one below about this, and its logarithm has to stay finite.
_FLOOR = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in (low, high]; NaN where there are none."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """The share of them that is right."""


def confidence_and_hits(predictions: Predictions) -> tuple[Floats, Floats]:
    """Confidence of each answer, and whether it is right (1) or not (0).

    Args:
        predictions: with known truth and probabilities.

    Returns:
        Two arrays (n,).
    """
    assert predictions.probabilities is not None
    confidence = predictions.probabilities[np.arange(len(predictions)), predictions.predicted]
    return confidence, (predictions.predicted == predictions.true).astype(np.float64)


def reliability(confidence: Floats, hits: Floats, bins: int = BINS, *, equal_mass: bool = False) -> list[Bin]:
    """The reliability diagram.

    Args:
        confidence: (n,), each in [0, 1].
        hits: (n,), 1 where the answer is right, else 0.
        bins: number of bins.
        equal_mass: bins of as equal a number of images as ties allow, instead of bins of equal width. Equal
            confidences are never parted, so that the order of the images changes nothing.

    Returns:
        The bins from low to high. Together they cover [0, 1]; a confidence of 0 lies in the first.
    """
    edges = _edges(confidence, bins, equal_mass)
    held = _one_hot(_bin_of(confidence, edges), bins).astype(bool)
    return [
        Bin(float(low), float(high), int(inside.sum()), _mean(confidence[inside]), _mean(hits[inside]))
        for low, high, inside in zip(edges[:-1], edges[1:], held.T, strict=True)
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Mean over the images of |accuracy − confidence| of their bin (Guo et al. 2017, equation 3).

    NaN where there are no images.
    """
    filled = [one for one in bins if one.count]
    if not filled:
        return float("nan")
    gaps = sum(one.count * abs(one.accuracy - one.confidence) for one in filled)
    return gaps / sum(one.count for one in filled)


def brier_score(probabilities: Floats, true: Ints) -> float:
    """Mean over the images of the squared errors summed over all classes, from 0 to 2 (Brier 1950).

    Args:
        probabilities: (n, classes).
        true: (n,), indices of classes.
    """
    return float(_squared_errors(probabilities, true).mean())


def fit_temperature(probabilities: Floats, true: Ints) -> float:
    """The temperature T at which softmax(log p / T) has the least negative log-likelihood.

    The likelihood is convex in 1 / T, so its slope changes sign once, and the place is found by halving on
    log T (Guo et al. 2017, section 4.2).

    Args:
        probabilities: (n, classes) of the validation images, uncalibrated.
        true: (n,), indices of classes.

    Returns:
        T from 0.05 to 20, the nearer bound where the best lies beyond. 1 where nothing is to be learned: from
        fewer than two images, or where every true class is the most probable, so that the likelihood only
        grows as T falls to 0.
    """
    logs = np.log(np.maximum(probabilities, _FLOOR))
    of_true = logs[np.arange(len(true)), true]
    if len(true) < 2 or (of_true >= logs.max(axis=1)).all():
        return 1.0
    cold, hot = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(60):
        middle = (cold + hot) / 2
        softened = _powers(logs, float(np.exp(middle)))
        # The slope of the negative log-likelihood in 1 / T: where it is above 0, a lower 1 / T is better.
        slope = ((softened * logs).sum(axis=1) - of_true).mean()
        cold, hot = (middle, hot) if slope > 0 else (cold, middle)
    return float(np.exp((cold + hot) / 2))


def with_temperature(probabilities: Floats, temperature: float) -> Floats:
    """p^(1 / T), scaled to sum 1: less sure for T above 1, surer below.

    The most probable class of a row stays the same, and classes that tie for it still do.

    Args:
        probabilities: (n, classes), each row with a value above 0.
        temperature: T, above 0.

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature is above 0, not {temperature}")
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities)
    top = probabilities == probabilities.max(axis=1, keepdims=True)
    return _powers(logs, temperature, top)


def calibrated(predictions: Predictions, temperature: float) -> Predictions:
    """The predictions with their probabilities at a temperature; decisions stay as they are."""
    assert predictions.probabilities is not None
    probabilities = with_temperature(predictions.probabilities, temperature)
    return dataclasses.replace(predictions, probabilities=probabilities)


def calibration_document(
    predictions: Predictions,
    temperature: float | None,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """What `--json` and metrics.json say of calibration.

    Args:
        predictions: with known truth, uncalibrated.
        temperature: fitted on other images; None where there is none.
        groups: lesion or patient of each image, for the intervals; None takes images as independent.
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        `temperature`; `before` and `after` (None without a temperature), each with `nll`, `brier`, `ece`,
        `ece_equal_mass` and their `ci95`; `reliability`, the bins of the final probabilities. What cannot be
        computed is None; without probabilities there are no bins.
    """

    def figures(one: Predictions) -> dict[str, Any]:
        return _figures(one, groups, resamples, seed)

    if predictions.probabilities is None:
        undefined = {**dict.fromkeys(FIGURES), "ci95": dict.fromkeys(FIGURES)}
        return {"temperature": temperature, "before": undefined, "after": None, "reliability": []}
    final = predictions if temperature is None else calibrated(predictions, temperature)
    return {
        "temperature": temperature,
        "before": figures(predictions),
        "after": None if temperature is None else figures(final),
        "reliability": [
            dataclasses.asdict(one) | {"confidence": number(one.confidence), "accuracy": number(one.accuracy)}
            for one in reliability(*confidence_and_hits(final))
        ],
    }


def _figures(
    predictions: Predictions, groups: Sequence[str] | None, resamples: int, seed: int
) -> dict[str, Any]:
    columns = _columns(predictions)
    means, drawn = columns.mean(axis=0), resampled_means(columns, groups, resamples=resamples, seed=seed)
    plain, widths, masses = slice(0, 2), slice(2, 2 + BINS), slice(2 + BINS, None)
    found = [*means[plain], *(np.abs(means[bins]).sum() for bins in (widths, masses))]
    intervals = [
        *(interval(values) for values in drawn.T[plain]),
        *(_error_interval(means[bins], drawn[:, bins]) for bins in (widths, masses)),
    ]
    return {name: number(value) for name, value in zip(FIGURES, found, strict=True)} | {
        "ci95": {name: bounds(one) for name, one in zip(FIGURES, intervals, strict=True)}
    }


def _error_interval(gaps: Floats, drawn: Floats) -> tuple[float, float]:
    """95 % interval of a calibration error, the sum of |gap| over the bins.

    Chance alone makes the sum larger, in the sample as in each resample of it, so that the percentile
    interval of a well calibrated model lies wholly above its true error. Its upper end is kept. The lower end
    takes off the sum what chance may have added: of a bin whose sign is clear its own error, of any other
    the absolute error, which bounds it. tests/benchmarks/coverage.py measures both.

    Args:
        gaps: (bins,), of the sample.
        drawn: (resamples, bins).
    """
    _, high = interval(np.abs(drawn).sum(axis=1))
    clear = np.abs(gaps) > 2 * drawn.std(axis=0)
    added = np.where(clear, np.sign(gaps) * (drawn - gaps), np.abs(drawn - gaps)).sum(axis=1)
    return max(0.0, float(np.abs(gaps).sum()) - max(0.0, interval(added)[1])), high


def _columns(predictions: Predictions) -> Floats:
    """(n, 2 + 2 BINS): likelihood, squared error, and hit − confidence in the image's bins of either kind."""
    assert predictions.probabilities is not None
    assert predictions.true is not None
    confidence, hits = confidence_and_hits(predictions)
    gaps = [
        _one_hot(_bin_of(confidence, _edges(confidence, BINS, equal_mass)), BINS)
        * (hits - confidence)[:, None]
        for equal_mass in (False, True)
    ]
    errors = _squared_errors(predictions.probabilities, predictions.true)
    return np.column_stack([negative_log_likelihood(predictions), errors, *gaps])


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


def _squared_errors(probabilities: Floats, true: Ints) -> Floats:
    return np.asarray(((probabilities - _one_hot(true, probabilities.shape[1])) ** 2).sum(axis=1))


def _powers(logs: Floats, temperature: float, top: NDArray[np.bool_] | None = None) -> Floats:
    """exp(logs / T) scaled to sum 1; rounding leaves the values of `top` equal, and above all others."""
    scaled: Floats = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
    if top is not None:
        scaled = np.where(top, 1.0, np.minimum(scaled, 1.0 - 4 * np.finfo(np.float64).eps))
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))
