"""The intervals hold the true value as often as they say; tests/benchmarks/coverage.py is the full table."""

import pytest

from tests.benchmarks.coverage import (
    Rare,
    Source,
    difference_coverage,
    rare_coverage,
    scores_coverage,
    true_scores,
)
from tests.benchmarks.gaps import People, coverage

FIGURES = ("accuracy", "balanced_accuracy", "weighted_f1", "weighted_auc")
# What holds in 95% holds in less than 90% of 150 simulations once in a hundred times.
SIZES = {"n": 300, "simulations": 150, "resamples": 200}


@pytest.mark.parametrize("group_size", [1, 5])
def test_the_interval_holds_the_true_score(group_size: int) -> None:
    source = Source(group_size=group_size)
    truth = true_scores(source, 200_000)
    held = scores_coverage(source, truth, **SIZES, by_group=group_size > 1)
    for name in FIGURES:
        assert 0.9 <= held[name] <= 0.99, held
    if group_size > 1:
        by_image = scores_coverage(source, truth, **SIZES, by_group=False)
        for name in FIGURES:
            assert by_image[name] < 0.82, by_image


@pytest.mark.parametrize(("n", "group_size"), [(4, 1), (20, 5)])
def test_a_rare_class_that_is_all_right_in_most_test_sets(n: int, group_size: int) -> None:
    held = rare_coverage(Rare(0.95, group_size), n, simulations=100, resamples=100)
    for name in ("recall", "precision", "f1"):
        assert held[name] >= 0.9, held
    # What [1.000, 1.000] would hold.
    assert held["recall, percentile"] < 0.5


def test_the_paired_interval_holds_the_true_difference_and_is_the_narrower_one() -> None:
    held, widths = difference_coverage(**SIZES, many=200_000)
    for name in FIGURES:
        assert 0.9 <= held[name] <= 0.99, held
        assert widths[name] < 0.8, widths


@pytest.mark.parametrize("people", [People((150, 150), 0.8), People((120,) * 4, 0.8, images=2)])
def test_subgroups_that_are_alike_have_an_interval_around_a_gap_of_0(people: People) -> None:
    held, found = coverage(people, simulations=150, resamples=200)
    for name, share in held.items():
        assert 0.9 <= share <= 0.99, held
        assert found[name] == pytest.approx(1 - share)


def test_a_planted_gap_of_a_fifth_is_found() -> None:
    held, found = coverage(People((300, 300), 0.8, 0.2), simulations=100, resamples=200)
    for name, share in held.items():
        assert share >= 0.88, held
        # A third of the images are malignant, which leaves the sensitivity the fewest.
        assert found[name] >= (0.75 if name == "sensitivity" else 0.95), found
