import numpy as np
import pytest

from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.classification import SUMMARY, score
from skinlesion_cli.metrics.paired import compare, pair
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.study import compare_methods, pooled


def drawn(seed: int, images: int = 60, first: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    true = np.arange(images) % 3
    logits = generator.normal(size=(images, 3)) + 1.5 * np.eye(3)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = tuple(f"{number:03d}" for number in range(first, first + images))
    return Predictions(names, ("a", "b", "c"), probabilities.argmax(axis=1), true, probabilities)


def test_folds_are_pooled_and_two_methods_differ_as_compare_says() -> None:
    folds = {name: [drawn(seed, 30), drawn(seed + 10, 30, first=30)] for name, seed in (("a", 1), ("b", 2))}
    bootstrap = Bootstrap(60, resamples=200)
    document = compare_methods(folds, bootstrap, disjoint=True)
    together = {name: pooled(parts) for name, parts in folds.items()}
    expected = compare(pair(together["a"], together["b"]), bootstrap)["differences"]
    for metric in SUMMARY:
        found = document["differences"]["b"][metric]
        assert found["difference"] == pytest.approx(expected[metric]["difference"], rel=1e-12)
        assert found["ci95"] == pytest.approx(expected[metric]["ci95"], rel=1e-12)
        assert document["methods"]["a"][metric]["value"] == score(together["a"]).summary[metric]
    assert document["baseline"] == "a"
    assert "a" not in document["differences"]


def test_seeds_are_averaged_and_the_spread_is_that_of_the_runs() -> None:
    runs = {"a": [drawn(1), drawn(2)], "b": [drawn(3), drawn(4)]}
    document = compare_methods(runs, Bootstrap(60, resamples=100), disjoint=False)
    alone = {name: [score(one).summary["macro_f1"] for one in parts] for name, parts in runs.items()}
    found = document["methods"]["b"]["macro_f1"]
    assert found["value"] == found["mean"] == pytest.approx(np.mean(alone["b"]))
    assert found["sd"] == pytest.approx(np.std(alone["b"], ddof=1))
    assert found["runs"] == alone["b"]
    difference = document["differences"]["b"]["macro_f1"]
    assert difference["runs"] == pytest.approx(np.subtract(alone["b"], alone["a"]))
    assert difference["ci95"][0] < difference["difference"] < difference["ci95"][1]


def test_the_same_method_twice_differs_by_nothing() -> None:
    document = compare_methods({"a": [drawn(1)], "b": [drawn(1)]}, Bootstrap(60, resamples=50), disjoint=True)
    assert {tuple(one["ci95"]) for one in document["differences"]["b"].values()} == {(0.0, 0.0)}
    assert document["methods"]["a"]["accuracy"]["sd"] is None
