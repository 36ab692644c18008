"""Two sets of predictions of the same images, compared image by image.

What two models have in common, the easy images and the hard ones, drops out of a paired difference, so that
its interval is narrower than either score's own would suggest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.metrics.bootstrap import RESAMPLES, interval, resampled_summary
from skinlesion_cli.metrics.classification import SUMMARY, score
from skinlesion_cli.metrics.documents import bounds, number
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.resampling import resampled_means


@dataclass(frozen=True)
class Pair:
    """Predictions of the same images by two models: the same rows, the same classes, the same truth."""

    a: Predictions
    b: Predictions


def pair(a: Predictions, b: Predictions, names: tuple[str, str] = ("A", "B")) -> Pair:
    """Put two sets of predictions into one order of images and of classes: by name.

    Decisions without probabilities tell only the classes that occur; these may be fewer than the other's.

    Args:
        a: with known truth.
        b: with known truth.
        names: of the two, for the errors.

    Raises:
        InputError: an image stands twice, or their images, classes or true classes differ.
    """
    for one, name in zip((a, b), names, strict=True):
        distinct, counts = np.unique(one.images, return_counts=True)
        if len(doubled := distinct[counts > 1]):
            raise InputError(f"{name} holds more than one prediction of {first_few(doubled.tolist())}")
    _require_equal(set(a.images), set(b.images), names, "images")
    classes = tuple(sorted({*a.classes, *b.classes}))
    of_a, of_b = (set(classes if one.probabilities is None else one.classes) for one in (a, b))
    _require_equal(of_a, of_b, names, "classes")
    ordered = Pair(_in_order(a, classes), _in_order(b, classes))
    assert ordered.a.true is not None
    assert ordered.b.true is not None
    if (differing := np.flatnonzero(ordered.a.true != ordered.b.true)).size:
        row = differing[0]
        truths = [classes[true[row]] for true in (ordered.a.true, ordered.b.true)]
        raise InputError(
            f"{names[0]} and {names[1]} differ in y_true of {len(differing)} images: "
            f"{ordered.a.images[row]} is {truths[0]} in the one and {truths[1]} in the other"
        )
    return ordered


def compare(
    pair: Pair, groups: Sequence[str] | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """How b differs from a, as the document that `--json` prints.

    Args:
        pair: the predictions.
        groups: lesion or patient of each image in the pair's order, to resample whole groups; None takes
            images as independent.
        resamples: number of resamples; each is scored for both models.
        seed: of the resampling.

    Returns:
        `n`; `differences`, b − a of each summary figure with its interval; `mcnemar` and `mcnemar_p`;
        `per_class`; `ci95_method`; `warnings`. What cannot be computed is None.
    """
    scores = [score(one) for one in (pair.a, pair.b)]
    drawn_a, drawn_b = (
        resampled_summary(one, groups, resamples=resamples, seed=seed) for one in (pair.a, pair.b)
    )
    differences = {
        name: _difference(
            scores[0].summary[name], scores[1].summary[name], interval(drawn_b[name] - drawn_a[name])
        )
        for name in SUMMARY
    }
    right_a, right_b = (one.predicted == one.true for one in (pair.a, pair.b))
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    unit = "images" if groups is None else "groups"
    return {
        "n": len(pair.a),
        "differences": differences,
        "mcnemar_p": mcnemar(only_a, only_b),
        "mcnemar": {"only_a_right": only_a, "only_b_right": only_b},
        "per_class": _per_class(pair, right_a, right_b, groups, resamples, seed),
        "ci95_method": f"paired percentile bootstrap, {resamples} resamples of {unit}",
        "warnings": _warnings(scores[0].warnings, scores[1].warnings),
    }


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p value of McNemar's exact test that two models are right equally often.

    If they are, the images that only one of them gets right fall to either side like the throws of a fair
    coin (McNemar, *Psychometrika* 12, 1947, in its exact binomial form). It takes images as independent.

    Args:
        only_a: images that a alone gets right.
        only_b: images that b alone gets right.

    Returns:
        From 0 to 1; 1 where they never disagree.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    ways, tail = 1, 1
    for k in range(fewer):
        # The binomial coefficients one from the other, in whole numbers: exact, and no import of scipy.
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << n))


def _difference(a: float, b: float, ci95: tuple[float, float]) -> dict[str, Any]:
    difference = number(b - a)
    return {
        "a": number(a),
        "b": number(b),
        "difference": difference,
        "ci95": None if difference is None else bounds(ci95),
    }


def _warnings(of_a: Sequence[str], of_b: Sequence[str]) -> list[str]:
    whose = {text: "A and B" if text in of_b else "A" for text in of_a}
    return [f"{whose.get(text, 'B')}: {text}" for text in dict.fromkeys((*of_a, *of_b))]


def _per_class(
    pair: Pair,
    right_a: NDArray[np.bool_],
    right_b: NDArray[np.bool_],
    groups: Sequence[str] | None,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    assert pair.a.true is not None
    classes = pair.a.classes
    of_class = pair.a.true[:, None] == np.arange(len(classes))
    won = right_b.astype(np.float64) - right_a
    means = resampled_means(
        np.column_stack([of_class, of_class * won[:, None]]), groups, resamples=resamples, seed=seed
    )
    shares, balances = np.split(means, 2, axis=1)
    drawn = _quotient(balances, shares)
    rows = {}
    for label, name in enumerate(classes):
        inside = of_class[:, label]
        found = _difference(_recall(right_a, inside), _recall(right_b, inside), interval(drawn[:, label]))
        rows[name] = {
            "a_recall": found["a"],
            "b_recall": found["b"],
            "difference": found["difference"],
            "ci95": found["ci95"],
            "support": int(inside.sum()),
            "gained": int((inside & right_b & ~right_a).sum()),
            "lost": int((inside & right_a & ~right_b).sum()),
        }
    return rows


def _recall(right: NDArray[np.bool_], inside: NDArray[np.bool_]) -> float:
    return float(right[inside].mean()) if inside.any() else float("nan")


def _quotient(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _in_order(predictions: Predictions, classes: tuple[str, ...]) -> Predictions:
    """The same predictions, images by name, classes as given; a class that is new has no probabilities."""
    rows = np.array(sorted(range(len(predictions)), key=predictions.images.__getitem__))
    place = np.array([classes.index(name) for name in predictions.classes])
    probabilities = predictions.probabilities
    if probabilities is not None:
        probabilities = probabilities[rows][:, np.argsort(place)]
    assert predictions.true is not None
    return replace(
        predictions,
        images=tuple(predictions.images[row] for row in rows),
        classes=classes,
        predicted=place[predictions.predicted[rows]],
        true=place[predictions.true[rows]],
        probabilities=probabilities,
    )


def _require_equal(a: set[str], b: set[str], names: tuple[str, str], what: str) -> None:
    parts = [
        f"only {name} has {first_few(sorted(own))}"
        for name, own in zip(names, (a - b, b - a), strict=True)
        if own
    ]
    if parts:
        raise InputError(f"{names[0]} and {names[1]} differ in their {what}: {'; '.join(parts)}")
