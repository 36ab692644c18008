import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.classification import SUMMARY, score
from skinlesion_cli.metrics.paired import compare, mcnemar, pair
from skinlesion_cli.metrics.predictions import Predictions
from tests.benchmarks.coverage import Source


def two_models(n: int = 200) -> tuple[Predictions, Predictions, list[str]]:
    """A weaker and a stronger model on the same images, and the images' groups."""
    a, groups = Source(signal=1.2, group_size=4).draw(n, np.random.default_rng(0))
    b, _ = Source(signal=1.8, group_size=4).draw(n, np.random.default_rng(0), own=0.3)
    return a, b, groups


def shuffled(predictions: Predictions, seed: int = 1) -> Predictions:
    """The same predictions with images and classes in another order."""
    random = np.random.default_rng(seed)
    rows, columns = random.permutation(len(predictions)), random.permutation(len(predictions.classes))
    place = np.argsort(columns)
    return Predictions(
        tuple(predictions.images[row] for row in rows),
        tuple(predictions.classes[column] for column in columns),
        place[predictions.predicted[rows]],
        place[predictions.true[rows]],
        predictions.probabilities[rows][:, columns],
    )


def decisions(images: str, true: str, predicted: str) -> Predictions:
    """One letter an image."""
    classes = tuple(sorted({*true, *predicted}))
    return Predictions(
        tuple(images),
        classes,
        np.array([classes.index(letter) for letter in predicted]),
        np.array([classes.index(letter) for letter in true]),
    )


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [(1, 9, 0.021484375), (9, 1, 0.021484375), (0, 6, 0.03125), (0, 0, 1.0), (5, 5, 1.0), (3, 4, 1.0)],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, expected: float) -> None:
    assert mcnemar(only_a, only_b) == expected


@pytest.mark.parametrize(("only_a", "only_b"), [(2, 7), (31, 55), (200, 260), (1300, 1500)])
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b, 0.5).pvalue
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_the_differences_are_those_of_the_scores() -> None:
    a, b, _ = two_models()
    document = compare(pair(a, b), Bootstrap(200, resamples=300))
    scores = [score(one) for one in (a, b)]
    assert document["n"] == 200
    assert list(document["differences"]) == list(SUMMARY)
    for name, one in document["differences"].items():
        assert list(one) == ["a", "b", "difference", "ci95"]
        assert (one["a"], one["b"]) == pytest.approx([each.summary[name] for each in scores])
        assert one["difference"] == one["b"] - one["a"]
        low, high = one["ci95"]
        assert low < one["difference"] < high
    right_a, right_b = a.predicted == a.true, b.predicted == b.true
    only = {"only_a_right": (right_a & ~right_b).sum(), "only_b_right": (right_b & ~right_a).sum()}
    assert document["mcnemar"] == only
    assert document["mcnemar_p"] == mcnemar(*map(int, only.values()))
    for name, one in document["per_class"].items():
        assert one["a_recall"] == pytest.approx(scores[0].per_class[name].recall)
        assert one["b_recall"] == pytest.approx(scores[1].per_class[name].recall)
        # The balance of gained and lost images is the difference.
        assert one["difference"] == pytest.approx((one["gained"] - one["lost"]) / one["support"])
        low, high = one["ci95"]
        assert low <= one["difference"] <= high
    assert sum(one["gained"] for one in document["per_class"].values()) == only["only_b_right"]
    assert sum(one["lost"] for one in document["per_class"].values()) == only["only_a_right"]


def test_the_intervals_are_those_of_a_plain_paired_loop() -> None:
    a, b, _ = two_models(120)
    order = sorted(range(120), key=a.images.__getitem__)
    random, drawn, recalls = np.random.default_rng(5), [], []
    for _ in range(300):
        rows = np.array(order)[random.integers(120, size=120)]
        samples = [
            dataclasses.replace(
                one,
                images=tuple(one.images[row] for row in rows),
                predicted=one.predicted[rows],
                true=one.true[rows],
                probabilities=one.probabilities[rows],
            )
            for one in (a, b)
        ]
        first, second = (score(one) for one in samples)
        drawn.append([second.summary[name] - first.summary[name] for name in SUMMARY])
        recalls.append(second.per_class["c"].recall - first.per_class["c"].recall)
    document = compare(pair(a, b), Bootstrap(120, resamples=300, seed=5))
    expected = np.quantile(drawn, [0.025, 0.975], axis=0).T
    for name, interval in zip(SUMMARY, expected, strict=True):
        assert document["differences"][name]["ci95"] == pytest.approx(interval, abs=1e-6), name
    assert document["per_class"]["c"]["ci95"] == pytest.approx(np.quantile(recalls, [0.025, 0.975]), abs=1e-6)


def test_a_model_does_not_differ_from_itself() -> None:
    a, _, _ = two_models()
    document = compare(pair(a, shuffled(a)), Bootstrap(200, resamples=100))
    for one in document["differences"].values():
        assert (one["difference"], one["ci95"]) == (0.0, [0.0, 0.0])
    assert document["mcnemar_p"] == 1.0
    assert {(one["gained"], one["lost"]) for one in document["per_class"].values()} == {(0, 0)}


def test_swapping_the_models_flips_every_sign() -> None:
    a, b, groups = two_models()
    ordered = pair(a, b)
    there = compare(ordered, Bootstrap(200, groups, resamples=200))
    back = compare(pair(shuffled(b), shuffled(a, 2)), Bootstrap(200, groups, resamples=200))
    for name, one in there["differences"].items():
        other = back["differences"][name]
        assert (other["a"], other["b"]) == (one["b"], one["a"])
        assert other["difference"] == -one["difference"]
        assert other["ci95"] == pytest.approx([-one["ci95"][1], -one["ci95"][0]])
    assert back["mcnemar_p"] == there["mcnemar_p"]
    for name, one in there["per_class"].items():
        assert (back["per_class"][name]["gained"], back["per_class"][name]["lost"]) == (
            one["lost"],
            one["gained"],
        )


def test_groups_are_resampled_whole() -> None:
    # Every image stands four times: by image the interval is half as wide as by group.
    rows = np.repeat(np.arange(200), 4)
    a, b = (
        dataclasses.replace(
            one,
            images=tuple(f"{i:04}" for i in range(800)),
            predicted=one.predicted[rows],
            true=one.true[rows],
            probabilities=one.probabilities[rows],
        )
        for one in two_models()[:2]
    )
    by_group = compare(pair(a, b), Bootstrap(800, [str(row) for row in rows], resamples=1000))
    by_image = compare(pair(a, b), Bootstrap(800, resamples=1000))
    assert by_group["ci95_method"] == "paired percentile bootstrap, 1000 resamples of groups"
    assert by_image["ci95_method"] == "paired percentile bootstrap, 1000 resamples of images"
    assert (by_group["resampling_unit"], by_image["resampling_unit"]) == ("groups", "images")
    for kind, name in (("differences", "loss"), ("per_class", "a")):
        wide, narrow = (one[kind][name]["ci95"] for one in (by_group, by_image))
        assert narrow[1] - narrow[0] == pytest.approx((wide[1] - wide[0]) / 2, rel=0.15)


def test_decisions_alone_are_compared_too() -> None:
    # b predicts c, which a's file does not know: the classes that occur in either are the classes.
    document = compare(
        pair(decisions("1234", "aabb", "abbb"), decisions("4321", "bbaa", "bcaa")),
        Bootstrap(4, resamples=50),
    )
    assert document["mcnemar"] == {"only_a_right": 1, "only_b_right": 1}
    assert document["differences"]["accuracy"]["difference"] == 0.0
    assert document["differences"]["loss"] == {"a": None, "b": None, "difference": None, "ci95": None}
    assert list(document["per_class"]) == ["a", "b", "c"]
    assert document["per_class"]["c"]["difference"] is None
    assert document["per_class"]["a"]["gained"] == 1
    assert document["per_class"]["b"]["lost"] == 1
    assert [text.split(":")[0] for text in document["warnings"]] == ["A and B", "A", "A and B"]
    assert "no images of c" in document["warnings"][0]
    assert "never predicted: c" in document["warnings"][1]
    assert "no probabilities" in document["warnings"][2]


def test_what_cannot_be_paired_is_refused() -> None:
    a, b, _ = two_models(40)
    names = ("a.csv", "b.csv")

    def reason(a: Predictions, b: Predictions) -> str:
        with pytest.raises(InputError) as caught:
            pair(a, b, names)
        return str(caught.value)

    other = dataclasses.replace(b, images=("x", "y", "z", "w", *b.images[4:]))
    assert reason(a, other) == (
        "a.csv and b.csv differ in their images: only a.csv has 0, 1, 2 and 1 more; "
        "only b.csv has w, x, y and 1 more"
    )
    double = dataclasses.replace(b, images=("1", *b.images[1:]))
    assert reason(a, double) == "b.csv has more than one prediction of 1"
    true = b.true.copy()
    true[7] = (true[7] + 1) % 4
    line = reason(a, dataclasses.replace(b, true=true))
    truths = [b.classes[a.true[7]], b.classes[true[7]]]
    assert line.startswith("a.csv and b.csv differ in y_true of 1 images: 7 is ")
    assert line.endswith(f"7 is {truths[0]} in one and {truths[1]} in the other")
    renamed = dataclasses.replace(b, classes=("a", "b", "c", "other"))
    assert reason(a, renamed) == (
        "a.csv and b.csv differ in their classes: only a.csv has d; only b.csv has other"
    )
    # A file of decisions alone may name fewer classes than the other's columns, and no other.
    bare = dataclasses.replace(b, probabilities=None)
    fewer = dataclasses.replace(bare, predicted=np.minimum(b.predicted, 2))
    assert pair(a, fewer).b.classes == ("a", "b", "c", "d")
    assert reason(a, dataclasses.replace(bare, classes=("a", "b", "c", "other"))) == (
        "a.csv and b.csv differ in their classes: only b.csv has other"
    )
