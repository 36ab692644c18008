import dataclasses
import math

import numpy as np
import pytest

from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.selective import (
    Threshold,
    area_under_risk_coverage,
    at_threshold,
    risk_coverage,
    selective_document,
    target_document,
    threshold_for_accuracy,
)
from tests.benchmarks.coverage import Source

# Six images from sure to unsure, not in this order; the third and fourth tie.
CONFIDENCE = np.array([0.6, 0.9, 0.8, 0.5, 0.8, 0.4])
HITS = np.array([0.0, 1.0, 1.0, 1.0, 0.0, 0.0])


def binary(confidence: np.ndarray, hits: np.ndarray) -> Predictions:
    """Answers a with the given confidences, each above a half."""
    n = len(confidence)
    probabilities = np.column_stack([confidence, 1 - confidence])
    images = tuple(map(str, range(n)))
    predicted = np.zeros(n, dtype=np.int64)
    return Predictions(images, ("a", "b"), predicted, 1 - hits.astype(np.int64), probabilities)


def test_the_curve_and_its_area_by_hand() -> None:
    coverage, risk = risk_coverage(CONFIDENCE, HITS)
    assert coverage == pytest.approx([1 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert risk == pytest.approx([0, 1 / 3, 2 / 4, 2 / 5, 3 / 6])
    # The mean over the six images: 0, twice 1/3, 1/2, 2/5, 1/2.
    assert area_under_risk_coverage(coverage, risk) == pytest.approx((0 + 2 / 3 + 0.5 + 0.4 + 0.5) / 6)


def test_the_area_without_ties_is_a_plain_loop() -> None:
    random = np.random.default_rng(0)
    confidence, hits = random.random(50), random.integers(0, 2, 50).astype(float)
    risks = [1 - hits[confidence >= own].mean() for own in confidence]
    assert area_under_risk_coverage(*risk_coverage(confidence, hits)) == pytest.approx(np.mean(risks))


def test_an_uninformative_confidence_has_the_error_rate_as_its_area() -> None:
    coverage, risk = risk_coverage(np.full(8, 0.7), np.array([1.0, 0, 1, 1, 1, 1, 1, 0]))
    assert (coverage.tolist(), risk.tolist()) == ([1.0], [0.25])
    assert area_under_risk_coverage(coverage, risk) == 0.25
    assert math.isnan(area_under_risk_coverage(np.array([]), np.array([])))


def test_the_order_of_the_images_changes_nothing() -> None:
    expected = risk_coverage(CONFIDENCE, HITS)
    for order in (np.argsort(CONFIDENCE), np.argsort(HITS), np.argsort(-HITS)):
        assert np.array_equal(risk_coverage(CONFIDENCE[order], HITS[order]), expected)


def test_the_threshold_is_the_lowest_that_reaches_the_target() -> None:
    # Accuracies from the highest threshold down: 1, 2/3, 2/4, 3/5, 3/6. At 0.8 and above it is 2/3, below it
    # falls to a half, and at 0.5 it is 3/5 again.
    assert threshold_for_accuracy(CONFIDENCE, HITS, 1.0) == Threshold(0.9, 1 / 6, 1.0, 1)
    assert threshold_for_accuracy(CONFIDENCE, HITS, 0.65) == Threshold(0.8, 3 / 6, 2 / 3, 3)
    assert threshold_for_accuracy(CONFIDENCE, HITS, 0.6) == Threshold(0.5, 5 / 6, 0.6, 5)
    assert threshold_for_accuracy(CONFIDENCE, HITS, 0.5) == Threshold(0.4, 1.0, 0.5, 6)
    assert threshold_for_accuracy(CONFIDENCE, 1 - HITS, 0.9) is None
    assert threshold_for_accuracy(np.array([]), np.array([]), 0.9) is None


def test_a_target_that_is_met_exactly_is_met() -> None:
    # 1 − 1/10 is below 0.9 in floating point.
    hits = np.array([1.0] * 9 + [0.0])
    chosen = threshold_for_accuracy(np.linspace(1, 0.1, 10), hits, 0.9)
    assert chosen is not None
    assert chosen.n == 10


def test_at_a_threshold() -> None:
    assert at_threshold(CONFIDENCE, HITS, 0.8) == (0.5, pytest.approx(2 / 3), 3)
    coverage, accuracy, n = at_threshold(CONFIDENCE, HITS, 0.95)
    assert (coverage, n) == (0.0, 0)
    assert math.isnan(accuracy)


def test_the_document() -> None:
    source = Source()
    validation, _ = source.draw(400, np.random.default_rng(0))
    test, _ = source.draw(900, np.random.default_rng(1))
    document = selective_document(test, Bootstrap(900, resamples=200), 0.9, validation)
    assert list(document) == ["aurc", "ci95", "exact_n", "risk_coverage", "target"]
    low, high = document["ci95"]["aurc"]
    assert low < document["aurc"] < high
    points = document["risk_coverage"]
    assert 90 < len(points) <= 101
    assert points[0][0] == 1 / 900
    assert points[-1] == [1.0, pytest.approx((test.predicted != test.true).mean())]
    assert points == sorted(points)
    target = document["target"]
    assert target["accuracy"] == 0.9
    assert target["validation_accuracy"] >= 0.9
    answered = test.probabilities.max(axis=1) >= target["threshold"]
    assert target["coverage"] == answered.mean()
    assert target["accuracy_reached"] == (test.predicted == test.true)[answered].mean()
    assert target["answered"] == answered.sum()
    for name in ("coverage", "accuracy_reached"):
        low, high = target["ci95"][name]
        assert low < target[name] < high
    assert selective_document(test, Bootstrap(900, resamples=50))["target"] is None
    with pytest.raises(ValueError, match="validation"):
        selective_document(test, Bootstrap(900), 0.9)


def test_what_cannot_be_computed_is_null() -> None:
    confidence, hits, three = np.array([0.9, 0.8, 0.7]), np.array([1.0, 1, 0]), Bootstrap(3)
    sure = binary(confidence, hits)
    nothing = selective_document(sure, three, 0.9, binary(np.array([0.9]), np.array([0.0])))["target"]
    assert nothing.pop("accuracy") == 0.9
    assert set(nothing.values()) == {None}
    unanswered = target_document(confidence, hits, 0.9, Threshold(0.95, 0.5, 0.9, 10), three)
    assert (unanswered["coverage"], unanswered["accuracy_reached"]) == (0.0, None)
    assert unanswered["ci95"]["accuracy_reached"] is None
    # Two answered, both right: resamples would say [1, 1], the exact interval begins at √0.025.
    right = target_document(confidence, hits, 0.9, Threshold(0.75, 0.5, 0.9, 10), three)
    assert (right["accuracy_reached"], right["answered"]) == (1.0, 2)
    assert right["ci95"]["accuracy_reached"] == pytest.approx([0.025**0.5, 1.0])
    assert right["exact_n"] == {"accuracy_reached": 2}
    decisions = selective_document(dataclasses.replace(sure, probabilities=None), three)
    assert (decisions["aurc"], decisions["risk_coverage"]) == (None, [])


def test_the_areas_interval_equals_a_plain_loop_over_resamples() -> None:
    random = np.random.default_rng(2)
    # Ties on purpose: only nine confidences.
    confidence, hits = random.integers(11, 20, 80) / 20, random.integers(0, 2, 80).astype(float)
    found = selective_document(binary(confidence, hits), Bootstrap(80, resamples=300, seed=5))["ci95"]["aurc"]
    random = np.random.default_rng(5)
    drawn = []
    for _ in range(300):
        rows = random.integers(80, size=80)
        drawn.append(area_under_risk_coverage(*risk_coverage(confidence[rows], hits[rows])))
    assert found == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=1e-12)
