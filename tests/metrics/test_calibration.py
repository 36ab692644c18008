import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.calibration import (
    Bin,
    calibration_document,
    fit_temperature,
    reliability,
    softmax,
    uncalibrated,
)
from skinlesion_cli.metrics.classification import negative_log_likelihood
from skinlesion_cli.metrics.predictions import Predictions
from tests.benchmarks.coverage import Source

CLASSES = ("a", "b", "c", "d", "e")


def expected_calibration_error(bins: list[Bin]) -> float:
    """Mean over the images of |accuracy − confidence| of their bin (Guo et al. 2017, equation 3)."""
    gaps = sum(one.count * abs(one.accuracy - one.confidence) for one in bins if one.count)
    return gaps / sum(one.count for one in bins)


def brier_score(probabilities: np.ndarray, true: np.ndarray) -> float:
    """Mean over the images of the squared errors summed over all classes (Brier 1950)."""
    return float(((probabilities - np.eye(probabilities.shape[1])[true]) ** 2).sum(axis=1).mean())


def simulated(n: int, temperature: float = 1.0, seed: int = 0) -> Predictions:
    """Labels drawn from the softmax of random logits; the model gives the logits times the temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, len(CLASSES)))
    chosen = softmax(logits).cumsum(axis=1) > random.random((n, 1))
    logits = temperature * logits
    images = tuple(map(str, range(n)))
    true = chosen.argmax(axis=1)
    return Predictions(images, CLASSES, logits.argmax(axis=1), true, softmax(logits), logits)


def calibrated(one: Predictions, temperature: float) -> Predictions:
    return dataclasses.replace(one, probabilities=softmax(one.logits, temperature), temperature=temperature)


def test_reliability_and_error_by_hand() -> None:
    # Five bins of width 0.2, (low, high]: 0.4 belongs to the second, 0.6 to the third, 0.8 to the fourth.
    confidence = np.array([0.4, 0.6, 0.5, 0.8, 0.9, 1.0])
    hits = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    bins = reliability(confidence, hits, bins=5)
    assert [(one.low, one.high, one.count) for one in bins] == [
        (0.0, 0.2, 0),
        (0.2, 0.4, 1),
        (0.4, 0.6, 2),
        (0.6, 0.8, 1),
        (0.8, 1.0, 2),
    ]
    assert math.isnan(bins[0].confidence)
    assert math.isnan(bins[0].accuracy)
    assert bins[1] == Bin(0.2, 0.4, 1, 0.4, 0.0)
    assert [one.confidence for one in bins[2:]] == pytest.approx([0.55, 0.8, 0.95])
    assert [one.accuracy for one in bins[2:]] == [0.5, 1.0, 1.0]
    # (1 × 0.4 + 2 × 0.05 + 1 × 0.2 + 2 × 0.05) / 6
    assert expected_calibration_error(bins) == pytest.approx(0.8 / 6)
    assert {one.count for one in reliability(np.array([]), np.array([]))} == {0}


def test_a_confidence_of_0_is_in_the_first_bin() -> None:
    assert reliability(np.array([0.0]), np.array([0.0]))[0].count == 1


def test_bins_of_equal_mass_by_hand() -> None:
    # Seven images in three bins: shares of 7/3 and 14/3 are reached at the third and the fifth.
    confidence = np.array([0.9, 0.2, 0.3, 0.95, 0.5, 0.6, 0.7])
    hits = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    bins = reliability(confidence, hits, bins=3, equal_mass=True)
    assert [(one.low, one.high, one.count) for one in bins] == [(0, 0.5, 3), (0.5, 0.7, 2), (0.7, 1, 2)]
    assert [one.confidence for one in bins] == pytest.approx([1 / 3, 0.65, 0.925])
    assert [one.accuracy for one in bins] == pytest.approx([1 / 3, 0.5, 1.0])
    # (3 × 0 + 2 × 0.15 + 2 × 0.075) / 7
    assert expected_calibration_error(bins) == pytest.approx(0.45 / 7)


def test_bins_of_equal_mass_keep_ties_together() -> None:
    confidence = np.array([0.5, 0.5, 0.5, 0.5, 0.8, 1.0])
    for hits in ([1.0, 0, 0, 0, 1, 1], [0.0, 0, 0, 1, 1, 1]):
        bins = reliability(confidence, np.array(hits), bins=3, equal_mass=True)
        assert [one.count for one in bins] == [4, 0, 2]
        assert bins[0].accuracy == 0.25


def test_fewer_images_than_bins() -> None:
    bins = reliability(np.array([0.3, 0.7]), np.array([1.0, 1.0]), bins=15, equal_mass=True)
    assert len(bins) == 15
    assert sum(one.count for one in bins) == 2
    assert expected_calibration_error(bins) == pytest.approx(0.5)


@pytest.mark.parametrize("bins", [5, 15, 40])
def test_the_error_is_torchmetrics(bins: int) -> None:
    one = simulated(700, temperature=1.7)
    expected = multiclass_calibration_error(
        torch.tensor(one.probabilities), torch.tensor(one.true), len(CLASSES), n_bins=bins, norm="l1"
    )
    confidence, hits = one.probabilities.max(axis=1), (one.predicted == one.true).astype(float)
    found = expected_calibration_error(reliability(confidence, hits, bins))
    assert found == pytest.approx(float(expected), abs=1e-6)


def document_of(one: Predictions, **options: int) -> dict[str, Any]:
    return calibration_document(one, Bootstrap(len(one), **options))


def test_the_brier_score() -> None:
    # (0.3² + 0.2² + 0.1²) and (0.8² + 0.6² + 0.2²), by hand.
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2]])
    two = Predictions(tuple("12"), tuple("abc"), np.array([0, 1]), np.array([0, 2]), probabilities)
    assert document_of(two)["before"]["brier"] == pytest.approx((0.14 + 1.04) / 2)
    one = simulated(300)
    expected = sum(
        brier_score_loss(one.true == label, one.probabilities[:, label]) for label in range(len(CLASSES))
    )
    assert document_of(one)["before"]["brier"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.3, 0.8, 1.0, 2.0, 4.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    one = simulated(40_000, temperature)
    fitted = fit_temperature(one.logits, one.true)
    assert fitted == pytest.approx(temperature, rel=0.02)
    # It is the minimum: a little to either side the likelihood is worse.
    losses = [
        negative_log_likelihood(calibrated(one, fitted * factor)).mean() for factor in (0.99, 1.0, 1.01)
    ]
    assert losses[1] == min(losses)


def test_the_temperature_of_too_few_images() -> None:
    one = simulated(50)
    assert fit_temperature(one.logits[:0], one.true[:0]) == 1.0
    assert fit_temperature(one.logits[:1], one.true[:1]) == 1.0
    # All right: the likelihood would grow without end, and says nothing.
    assert fit_temperature(one.logits, one.predicted) == 1.0
    # All wrong: the softer the better, to the bound, even where the true class has probability 0.
    logits = np.array([[2000.0, 0.0], [2000.0, 0.0]])
    assert softmax(logits)[0].tolist() == [1.0, 0.0]
    assert fit_temperature(logits, np.array([1, 1])) == pytest.approx(20)
    # Nearly uniform answers that are nearly all right: the harder the better, to the other bound.
    probabilities = np.tile([0.501, 0.499], (1000, 1))
    true = np.zeros(1000, dtype=np.int64)
    true[0] = 1
    assert fit_temperature(np.log(probabilities), true) == pytest.approx(0.05)


def test_a_temperature_by_hand() -> None:
    logits = np.log([[0.64, 0.32, 0.04]])
    expected = np.array([0.8, 0.32**0.5, 0.2]) / (1 + 0.32**0.5)
    assert softmax(logits, 2.0)[0] == pytest.approx(expected)
    assert softmax(logits)[0] == pytest.approx([0.64, 0.32, 0.04])
    one = calibrated(simulated(20), 2.0)
    assert np.array_equal(uncalibrated(one).probabilities, softmax(one.logits))
    assert uncalibrated(one).temperature is None
    without = dataclasses.replace(one, logits=None, temperature=None)
    assert uncalibrated(without) is without


def test_a_very_small_probability_is_not_0() -> None:
    values = softmax(np.array([[500.0, 0.0], [0.0, 0.0]], np.float32))
    assert values[0, 1] == pytest.approx(7.1e-218, rel=0.01)
    assert values.sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0, 1.3, 20.0])
def test_the_most_probable_class_stays_and_ties_stay_ties(temperature: float) -> None:
    random = np.random.default_rng(3)
    rows = (4 + np.log(random.random((2000, 6)).round(1) + 1e-9)).astype(np.float32)
    top = rows.argmax(axis=1)
    # In the second half the best leads the runner-up by one unit in the last place of a network's floats.
    for row in range(1000, 2000):
        other = random.choice([label for label in range(6) if label != top[row]])
        rows[row, other] = np.nextafter(rows[row, top[row]], np.float32(-np.inf))
        ties = np.flatnonzero(rows[row] == rows[row, top[row]])
        rows[row, ties[ties != top[row]]] = -20.0
    warmed = softmax(rows, temperature)
    assert np.array_equal(
        rows == rows.max(axis=1, keepdims=True), warmed == warmed.max(axis=1, keepdims=True)
    )
    assert np.array_equal(warmed.argmax(axis=1), top)
    assert warmed.sum(axis=1) == pytest.approx(1.0)


def test_the_document() -> None:
    one = simulated(400, temperature=2.0)
    document = document_of(calibrated(one, 2.0), resamples=200)
    assert list(document) == ["temperature", "before", "after", "reliability"]
    assert document["temperature"] == 2.0
    for figures, scored in ((document["before"], one), (document["after"], calibrated(one, 2.0))):
        assert list(figures) == ["nll", "brier", "ece", "ece_equal_mass", "ci95", "exact_n"]
        confidence = scored.probabilities.max(axis=1)
        hits = (scored.predicted == scored.true).astype(float)
        assert figures["nll"] == pytest.approx(negative_log_likelihood(scored).mean())
        assert figures["brier"] == pytest.approx(brier_score(scored.probabilities, scored.true))
        for name, equal_mass in (("ece", False), ("ece_equal_mass", True)):
            bins = reliability(confidence, hits, equal_mass=equal_mass)
            assert figures[name] == pytest.approx(expected_calibration_error(bins))
            low, high = figures["ci95"][name]
            assert low <= figures[name] <= high
    assert document["after"]["ece"] < document["before"]["ece"]
    assert sum(one["count"] for one in document["reliability"]) == 400
    assert document["reliability"][0]["count"] == 0
    assert document["reliability"][0]["accuracy"] is None
    alone = document_of(one, resamples=200)
    assert alone["after"] is None
    assert alone["before"] == document["before"]
    assert alone["reliability"] != document["reliability"]


def test_what_cannot_be_computed_is_null() -> None:
    one = simulated(60)
    decisions = document_of(dataclasses.replace(one, probabilities=None, logits=None, temperature=1.5))
    assert decisions["before"]["ece"] is None
    assert decisions["before"]["ci95"]["ece"] is None
    assert decisions["reliability"] == []
    certain = np.eye(len(CLASSES))[(one.true + 1) % len(CLASSES)]
    wrong = dataclasses.replace(one, predicted=certain.argmax(axis=1), probabilities=certain)
    figures = document_of(wrong)["before"]
    assert figures["nll"] is None
    assert figures["ci95"]["nll"] is None
    assert (figures["brier"], figures["ece"]) == (2.0, 1.0)


def test_intervals_equal_a_plain_loop_over_resamples() -> None:
    one = simulated(150, temperature=3.0)
    figures = document_of(one, resamples=300, seed=5)["before"]
    random = np.random.default_rng(5)
    drawn = []
    for _ in range(300):
        rows = random.integers(150, size=150)
        bins = reliability(
            one.probabilities[rows].max(axis=1), (one.predicted == one.true)[rows].astype(float)
        )
        drawn.append(
            (
                brier_score(one.probabilities[rows], one.true[rows]),
                negative_log_likelihood(one)[rows].mean(),
                expected_calibration_error(bins),
            )
        )
    brier, nll, error = np.quantile(drawn, [0.025, 0.975], axis=0).T
    assert figures["ci95"]["brier"] == pytest.approx(brier, abs=1e-6)
    assert figures["ci95"]["nll"] == pytest.approx(nll, abs=1e-6)
    assert figures["ci95"]["ece"][1] == pytest.approx(error[1], abs=1e-6)


def test_groups_widen_the_intervals() -> None:
    one = simulated(200)
    rows = np.repeat(np.arange(200), 4)
    repeated = Predictions(
        tuple(map(str, rows)), one.classes, one.predicted[rows], one.true[rows], one.probabilities[rows]
    )

    def width(groups: list[str] | None) -> float:
        low, high = calibration_document(repeated, Bootstrap(800, groups))["before"]["ci95"]["brier"]
        return high - low

    assert width(None) == pytest.approx(width([str(row) for row in rows]) / 2, rel=0.1)


def test_the_interval_of_a_calibrated_models_error_includes_0() -> None:
    # The true error is 0. Every resample's is above it, so that a percentile interval never holds it.
    source, held = Source(), 0
    for seed in range(40):
        predictions, _ = source.draw(300, np.random.default_rng(seed))
        low, high = document_of(predictions, resamples=200)["before"]["ci95"]["ece"]
        held += low == 0.0
        assert high > 0.0
    assert held >= 36
