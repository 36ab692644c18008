import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from skinlesion_cli.metrics import bootstrap
from skinlesion_cli.metrics.bootstrap import Bootstrap, interval
from skinlesion_cli.metrics.classification import PER_CLASS, SUMMARY, figures, score
from skinlesion_cli.metrics.predictions import Predictions
from tests.support.simulated import simulated


def resampled_figures(
    predictions: Predictions, groups: list[str] | None = None, **options: int
) -> dict[str, np.ndarray]:
    """Every figure of every resample."""
    return Bootstrap(len(predictions), groups, **options).figures(partial(figures, predictions))


def multiplicities(drawn: Bootstrap) -> np.ndarray:
    return np.concatenate(drawn.mapped(lambda weights: weights))


def literal_loop(predictions: Predictions, draw: Callable[[], np.ndarray], resamples: int) -> dict[str, list]:
    """Every figure of every resample, by scoring the drawn images as a set of their own."""
    drawn: dict[str, list] = {}
    for _ in range(resamples):
        scores = score(predictions.take(draw()))
        for name, value in scores.summary.items():
            drawn.setdefault(name, []).append(value)
        for name in PER_CLASS:
            values = [getattr(one, name) for one in scores.per_class.values()]
            drawn.setdefault(name, []).append(values)
    return drawn


def rare() -> Predictions:
    """Few images of one class: some resamples hold none of it, and its figures are undefined there."""
    predictions = simulated(n=60, classes=4)
    true = np.where(predictions.true == 3, 2, predictions.true)
    true[:2] = 3
    return Predictions(
        predictions.images, predictions.classes, predictions.predicted, true, predictions.probabilities
    )


@pytest.mark.parametrize("predictions", [simulated(n=120, classes=3), rare()], ids=["common", "rare"])
def test_every_figure_equals_a_plain_loop_over_resamples(predictions: Predictions) -> None:
    n = len(predictions)
    random = np.random.default_rng(5)
    expected = literal_loop(predictions, lambda: random.integers(n, size=n), 200)
    drawn = resampled_figures(predictions, resamples=200, seed=5)
    assert set(drawn) == {*SUMMARY, *PER_CLASS}
    for name, values in expected.items():
        assert np.allclose(drawn[name], values, rtol=0, atol=1e-9, equal_nan=True), name
    if n == 60:
        assert np.isnan(drawn["auc"][:, 3]).any()
        low, high = interval(drawn["recall"][:, 3])
        assert 0 <= low <= high <= 1


def test_groups_are_drawn_whole() -> None:
    predictions = simulated(n=90, classes=3)
    sizes = np.random.default_rng(1).integers(1, 6, size=40)
    groups = np.repeat([f"L{i:02d}" for i in range(40)], sizes)[:90]
    names = np.unique(groups)
    random = np.random.default_rng(3)

    def draw() -> np.ndarray:
        chosen = names[random.integers(len(names), size=len(names))]
        return np.concatenate([np.flatnonzero(groups == name) for name in chosen])

    expected = literal_loop(predictions, draw, 100)
    drawn = resampled_figures(predictions, groups.tolist(), resamples=100, seed=3)
    assert set(expected) == {*SUMMARY, *PER_CLASS}
    for name, values in expected.items():
        assert np.allclose(drawn[name], values, rtol=0, atol=1e-9, equal_nan=True), name


def test_groups_widen_the_intervals_of_grouped_errors() -> None:
    # Every image stands four times: by image the interval is half as wide as by group.
    once = simulated(n=150, classes=3)
    rows = np.repeat(np.arange(150), 4)
    repeated = once.take(rows)

    def width(predictions: Predictions, groups: list[str] | None = None) -> float:
        low, high = interval(resampled_figures(predictions, groups)["accuracy"])
        return high - low

    by_group = width(repeated, [str(row) for row in rows])
    assert by_group == pytest.approx(width(once), rel=0.1)
    assert width(repeated) == pytest.approx(by_group / 2, rel=0.1)


def test_the_resamples_do_not_depend_on_how_many_are_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = simulated(n=50, classes=3)
    groups = [str(row // 3) for row in range(50)]
    whole = [resampled_figures(predictions, of, resamples=40) for of in (None, groups)]
    monkeypatch.setattr(bootstrap, "_CELLS", 350)
    monkeypatch.setattr(bootstrap, "_KEPT", 0)
    parts = [resampled_figures(predictions, of, resamples=40) for of in (None, groups)]
    for one, other in zip(whole, parts, strict=True):
        assert set(one) == {*SUMMARY, *PER_CLASS}
        for name in one:
            assert np.allclose(one[name], other[name], rtol=0, atol=1e-12, equal_nan=True)


def test_resamples_are_the_same_every_time_kept_or_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_CELLS", 350)
    groups = np.array([row // 3 for row in range(50)])
    random = np.random.default_rng(2)
    expected = [np.bincount(random.integers(17, size=17), minlength=17)[groups] for _ in range(40)]
    for most in (bootstrap._KEPT, 0):
        monkeypatch.setattr(bootstrap, "_KEPT", most)
        drawn = Bootstrap(50, [f"{group:02d}" for group in groups], resamples=40, seed=2)
        for _ in range(2):
            assert np.array_equal(multiplicities(drawn), expected)
        assert len(drawn._kept) == (6 if most else 0)


def test_a_part_of_the_images_has_resamples_of_its_own() -> None:
    groups = [str(row // 3) for row in range(50)]
    part = Bootstrap(50, groups, resamples=40, seed=2).take([0, 3, 4, 5, 30])
    expected = Bootstrap(5, ["0", "1", "1", "1", "10"], resamples=40, seed=2)
    assert np.array_equal(multiplicities(part), multiplicities(expected))


def test_an_interval_is_of_what_is_defined() -> None:
    low, high = interval(np.array([math.nan, *np.linspace(0, 1, 201), math.nan]))
    assert (low, high) == pytest.approx((0.025, 0.975))
    assert all(math.isnan(end) for end in interval(np.full(3, np.nan)))
