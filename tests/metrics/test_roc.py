import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from skinlesion_cli.metrics.roc import RANKING, ranking_figures, sweep

Problem = tuple[np.ndarray, np.ndarray]


def problem(seed: int, *, n: int = 300, share: float = 0.2, decimals: int = 2) -> Problem:
    """Positives that score somewhat higher; rounded, so that scores are tied within and across classes."""
    random = np.random.default_rng(seed)
    positive = random.random(n) < share
    positive[:2] = True, False
    return positive, (random.normal(size=n) + 1.2 * positive).round(decimals)


PROBLEMS = [
    problem(0),
    problem(1, decimals=0),  # nearly all are tied
    problem(2, decimals=15),
    problem(3, n=40, share=0.9, decimals=1),
    problem(4, n=7, decimals=0),
    (np.array([True, False, True]), np.array([0.5, 0.5, 0.5])),
    (np.array([True, True, False]), np.array([0.9, 0.8, 0.1])),
    (np.array([True, True, False]), np.array([0.1, 0.2, 0.9])),
]


@pytest.mark.parametrize("one", PROBLEMS)
def test_areas_are_scikit_learns(one: Problem) -> None:
    assert sweep(*one).area()[0] == pytest.approx(sklearn_metrics.roc_auc_score(*one), abs=1e-12)
    expected = sklearn_metrics.average_precision_score(*one)
    assert sweep(*one).average_precision()[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("specificity", [0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("one", PROBLEMS)
def test_sensitivity_is_the_best_of_all_thresholds(one: Problem, specificity: float) -> None:
    positive, scores = one
    reached = [0.0]
    for threshold in np.unique(scores):
        called = scores >= threshold
        if (~called & ~positive).sum() >= round(specificity * (~positive).sum(), 9):
            reached.append((called & positive).sum() / positive.sum())
    assert sweep(positive, scores).sensitivity(specificity)[0] == pytest.approx(max(reached), abs=1e-12)


def test_a_specificity_that_is_reached_exactly_counts() -> None:
    # One of ten benign images scores above the last malignant one. In floats, (1 − 0.9) × 10 is below 1.
    positive = np.array([True, False, True] + [False] * 9)
    scores = np.linspace(1, 0, 12)
    assert sweep(positive, scores).sensitivity(0.9)[0] == 1.0
    assert sweep(positive, scores).sensitivity(0.901)[0] == 0.5


@pytest.mark.parametrize("min_sensitivity", [0.8, 0.5, 0.25])
@pytest.mark.parametrize("one", PROBLEMS)
def test_the_partial_area_is_that_of_the_isic_2024_challenge(one: Problem, min_sensitivity: float) -> None:
    # The challenge turns labels and scores round and asks scikit-learn for the area up to the
    # false-positive rate 1 − min_sensitivity, whose standardisation (McClish 1989) it takes back.
    positive, scores = one
    limit = 1 - min_sensitivity
    standardised = sklearn_metrics.roc_auc_score(~positive, -scores, max_fpr=limit)
    least = limit**2 / 2
    expected = least + (limit - least) / (1.0 - 0.5) * (standardised - 0.5)
    assert sweep(positive, scores).area(min_sensitivity)[0] == pytest.approx(expected, abs=1e-12)


def test_partial_areas_by_hand() -> None:
    positive = np.array([True] * 5 + [False] * 5)
    assert sweep(positive, np.linspace(1, 0, 10)).area(0.8)[0] == pytest.approx(0.2)
    assert sweep(positive, np.linspace(0, 1, 10)).area(0.8)[0] == 0.0
    # All scores equal: the diagonal, and above 0.8 a triangle.
    assert sweep(positive, np.ones(10)).area(0.8)[0] == pytest.approx(0.02)
    assert sweep(positive, np.ones(10)).area(0.0)[0] == pytest.approx(0.5)


@pytest.mark.parametrize("all_positive", [True, False])
def test_one_sided_problems_have_no_figures(all_positive: bool) -> None:
    positive, scores = np.full(4, all_positive), np.array([0.1, 0.4, 0.4, 0.9])
    figures = ranking_figures(positive, scores)
    assert set(figures) == set(RANKING)
    assert all(math.isnan(figure[0]) for figure in figures.values())


@pytest.mark.parametrize("one", PROBLEMS)
def test_weighted_figures_are_those_of_repeated_images(one: Problem) -> None:
    positive, scores = one
    random = np.random.default_rng(8)
    weights = random.integers(0, 3, size=(30, len(scores)))
    weights[0], weights[1] = positive, ~positive  # a resample without negatives, one without positives
    figures = ranking_figures(positive, scores, weights.astype(np.float32))
    assert set(figures) == set(RANKING)
    for row, counts in enumerate(weights):
        repeated = np.repeat(np.arange(len(scores)), counts)
        if not len(repeated):
            assert all(math.isnan(values[row]) for values in figures.values())
            continue
        alone = ranking_figures(positive[repeated], scores[repeated])
        for name, values in figures.items():
            assert values[row] == pytest.approx(alone[name][0], abs=1e-12, nan_ok=True), name
