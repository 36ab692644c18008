"""Figures that are the same in every resample have exact intervals, with the n that they count."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.evaluation import evaluate
from skinlesion_cli.metrics.exact import clopper_pearson, exact_interval
from skinlesion_cli.metrics.paired import compare, pair
from skinlesion_cli.metrics.predictions import Predictions

NONE_OF_4 = [0.0, pytest.approx(1 - 0.025 ** (1 / 4))]  # 0.602, as in any table of exact limits
ALL_OF_4 = [pytest.approx(0.025 ** (1 / 4)), 1.0]


def predictions(true: str, predicted: str, classes: tuple[str, ...], sure: float = 0.7) -> Predictions:
    """One letter per image; the predicted class has the probability `sure`."""
    columns = np.array([classes.index(letter) for letter in predicted])
    probabilities = np.full((len(true), len(classes)), (1 - sure) / (len(classes) - 1))
    probabilities[np.arange(len(true)), columns] = sure
    truth = np.array([classes.index(letter) for letter in true])
    return Predictions(tuple(map(str, range(len(true)))), classes, columns, truth, probabilities)


def of(true: str, predicted: str, groups: list[str] | None = None, **options: object) -> dict:
    classes = tuple(sorted({*true, *predicted}))
    return evaluate(predictions(true, predicted, classes), groups=groups, **options)[1]


@pytest.mark.parametrize(("hits", "n"), [(0, 4), (4, 4), (3, 4), (0, 1), (17, 30), (400, 400)])
def test_the_interval_of_a_proportion_is_scipys(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, "exact")
    assert clopper_pearson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_none_of_four_and_all_of_four() -> None:
    document = of("aaaabbbbcccccc", "bbbbbbbbcccccc")
    a, b, c = document["per_class"].values()
    assert (a["recall"], a["ci95"]["recall"], a["exact_n"]["recall"]) == (0.0, NONE_OF_4, 4)
    assert (b["recall"], b["ci95"]["recall"], b["exact_n"]["recall"]) == (1.0, ALL_OF_4, 4)
    # Of the eight images that are predicted b, four are right: the bootstrap's interval.
    assert (b["predicted"], b["precision"]) == (8, 0.5)
    assert "precision" not in b["exact_n"]
    assert (c["exact_n"]["precision"], c["ci95"]["precision"]) == (6, [pytest.approx(0.025 ** (1 / 6)), 1.0])
    assert (a["ci95"]["precision"], a["exact_n"].get("precision")) == (None, None)
    # F1 is 0 of the four images that are a or predicted a: J is at most 0.602, F1 at most 2 J / (1 + J).
    assert (a["f1"], a["exact_n"]["f1"]) == (0.0, 4)
    assert a["ci95"]["f1"] == [0.0, pytest.approx(2 * 0.6024 / 1.6024, abs=1e-4)]
    assert c["ci95"]["f1"][0] == pytest.approx(2 * 0.5407 / 1.5407, abs=1e-4)


def test_groups_count_once() -> None:
    groups = ["L1", "L1", "L1", "L2", *"3456", *"ABCDEF"]
    a, b, _ = of("aaaabbbbcccccc", "bbbbbbbbcccccc", groups)["per_class"].values()
    assert (a["exact_n"]["recall"], a["ci95"]["recall"]) == (2, [0.0, pytest.approx(1 - 0.025**0.5)])
    assert (b["exact_n"]["recall"], b["ci95"]["recall"]) == (4, ALL_OF_4)
    # One lesion, right in two of three pictures: every resample says 2/3, and nothing is known of others.
    one = of("aaabbb", "aabbbb", ["L", "L", "L", *"123"])["per_class"]["a"]
    low, high = one["ci95"]["recall"]
    assert (low < 0.05, high > 0.95, one["exact_n"]["recall"]) == (True, True, 1)


def test_no_interval_of_an_evaluation_is_a_point() -> None:
    """All right, all wrong, one image of a class, everything in one group, sure predictions."""
    kinds = [("aaaabbbbcc", "aaaabbbbcc"), ("aabbcc", "bbccaa"), ("abbbbbbb", "abbbbbba"), ("ab", "ab")]
    for (true, predicted), grouped, sure in itertools.product(kinds, (False, True), (0.7, 1.0)):
        scored = predictions(true, predicted, tuple("abc"), sure)
        groups = ["L"] * len(true) if grouped else None
        sources = ["here"] * len(true)
        document = evaluate(
            scored,
            groups=groups,
            sources=sources,
            malignant=["a"],
            target_accuracy=0.5,
            validation=predictions("abc", "abc", tuple("abc"), sure),
        )[1]
        found = list(intervals_in(document))
        assert len(found) > 40
        for name, value, (low, high) in found:
            assert high - low > 1e-6, (true, predicted, grouped, sure, name)
            assert low - 1e-9 <= value <= high + 1e-9, (true, predicted, grouped, sure, name)


def intervals_in(document: object, at: str = ""):
    """Name, figure and interval of everything in a document that has an interval."""
    if isinstance(document, dict):
        ends = document.get("ci95")
        if isinstance(ends, list):
            yield at, document["accuracy"], ends
        for name, one in (ends if isinstance(ends, dict) else {}).items():
            if one is not None:
                yield f"{at}.{name}", document[name], one
        for key, value in document.items():
            yield from intervals_in(value, f"{at}.{key}")
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield from intervals_in(value, f"{at}.{place}")


def test_a_perfect_ranking_and_means_over_classes() -> None:
    document = of("aaaabbbbbbbb", "aaaabbbbbbbb", malignant=["a"])
    assert document["per_class"]["a"]["ci95"]["auc"] == ALL_OF_4
    assert document["ci95"]["accuracy"] == [pytest.approx(0.025 ** (1 / 12)), 1.0]
    # Two classes, the smaller one of four images: a mean recall is worth eight.
    assert document["exact_n"]["balanced_accuracy"] == document["exact_n"]["macro_f1"] == 8
    # The AUC of two classes is one and the same figure, worth its four positives.
    assert (document["exact_n"]["weighted_auc"], document["ci95"]["weighted_auc"]) == (4, ALL_OF_4)
    decided = document["malignant"]["operating_points"][0]
    assert decided["exact_n"] == {"sensitivity": 4, "specificity": 8, "ppv": 4, "npv": 8}
    assert decided["ci95"]["sensitivity"] == ALL_OF_4
    low, high = exact_interval("partial_auc", 0.2, 50)
    assert (low, high) == (pytest.approx(0.2 * 0.025 ** (1 / 10)), pytest.approx(0.2))


def test_a_recall_that_does_not_change_may_still_differ_elsewhere() -> None:
    classes = tuple("ab")
    first = predictions("aaaabbbb", "aaaabbbb", classes)
    second = predictions("aaaabbbb", "aaaaabbb", classes)
    rows = compare(pair(first, second), Bootstrap(8, resamples=200))["per_class"]
    assert rows["a"]["ci95"] == [pytest.approx(-0.6024, abs=1e-4), pytest.approx(0.6024, abs=1e-4)]
    low, high = rows["b"]["ci95"]
    assert -1 <= low < rows["b"]["difference"] == -0.25 <= high


def test_bins_of_few_images_have_wide_intervals() -> None:
    scored = predictions("aaabbbbbbb", "aaabbbbbba", tuple("ab"), 0.9)
    bins = evaluate(scored)[1]["calibration"]["reliability"]
    (filled,) = [one for one in bins if one["count"]]
    assert filled["ci95"][0] < filled["accuracy"] == 0.9 < filled["ci95"][1] + 1e-9
    assert {one["ci95"] for one in bins if not one["count"]} == {None}
    sure = evaluate(predictions("abc", "abc", tuple("abc"), 0.8))[1]["calibration"]["reliability"]
    (three,) = [one for one in sure if one["count"]]
    assert (three["exact_n"], three["ci95"]) == (3, [pytest.approx(0.025 ** (1 / 3)), 1.0])


def test_a_loss_that_no_resample_changes_has_no_interval() -> None:
    document = of("ab", "ab")
    assert document["loss"] == pytest.approx(-math.log(0.7))
    assert document["ci95"]["loss"] is None
