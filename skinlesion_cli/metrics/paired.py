"""Two sets of predictions of the same images, compared image by image.

What two models have in common, such as easy and hard images, cancels out in a paired difference, so its
interval is narrower than the intervals of the two scores suggest.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.metrics.arrays import Booleans, bounds, divide, number
from skinlesion_cli.metrics.bootstrap import Bootstrap, interval
from skinlesion_cli.metrics.classification import SUMMARY, Figures, score
from skinlesion_cli.metrics.exact import clopper_pearson
from skinlesion_cli.metrics.predictions import Predictions


@dataclass(frozen=True)
class Pair:
    """Predictions of the same images by two models: the same rows, the same classes, the same truth."""

    a: Predictions
    b: Predictions


def pair(a: Predictions, b: Predictions, names: tuple[str, str] = ("A", "B")) -> Pair:
    """Match two sets of predictions by the names of their images and classes.

    Decisions without probabilities name only the classes that occur, which may be fewer than the other's.

    Raises:
        InputError: an image is a duplicate, or the images, classes or true classes of the two differ.
    """
    for one, name in zip((a, b), names, strict=True):
        distinct, counts = np.unique(one.images, return_counts=True)
        if len(repeated := distinct[counts > 1]):
            raise InputError(f"{name} has more than one prediction of {first_few(repeated.tolist())}")
    _require_equal(set(a.images), set(b.images), names, "images")
    classes = tuple(sorted({*a.classes, *b.classes}))
    of_a, of_b = (set(classes if one.probabilities is None else one.classes) for one in (a, b))
    _require_equal(of_a, of_b, names, "classes")
    ordered = Pair(_in_order(a, classes), _in_order(b, classes))
    if (differing := np.flatnonzero(ordered.a.true != ordered.b.true)).size:
        row = differing[0]
        truths = [classes[one.true[row]] for one in (ordered.a, ordered.b)]
        first = f"{ordered.a.images[row]} is {truths[0]} in one and {truths[1]} in the other"
        raise InputError(f"{names[0]} and {names[1]} differ in y_true of {len(differing)} images: {first}")
    return ordered


def compare(pair: Pair, bootstrap: Bootstrap) -> dict[str, Any]:
    """How b differs from a, as the document that `--json` prints.

    `bootstrap` resamples the images in the pair's order; both models are scored in each resample. Differences
    are b − a; what cannot be computed is None.
    """
    a, b = pair.a, pair.b
    figures_a, figures_b = Figures(a), Figures(b)
    of_a, of_b = score(a, figures_a), score(b, figures_b)
    drawn_a, drawn_b = bootstrap.figures(figures_a), bootstrap.figures(figures_b)
    right_a, right_b = (one.predicted == one.true for one in (a, b))
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    whose = dict.fromkeys(of_a.warnings, "A")
    whose |= {text: "A and B" if text in whose else "B" for text in of_b.warnings}
    return {
        "n": len(a),
        "differences": {
            name: _difference(of_a.summary[name], of_b.summary[name], interval(drawn_b[name] - drawn_a[name]))
            for name in SUMMARY
        },
        "mcnemar_p": mcnemar(only_a, only_b),
        "mcnemar": {"only_a_right": only_a, "only_b_right": only_b},
        "per_class": _per_class(pair, right_a, right_b, bootstrap),
        "ci95_method": f"paired {bootstrap.method}",
        "resampling_unit": bootstrap.unit,
        "warnings": [*(f"{models}: {text}" for text, models in whose.items()), *a.remarks, *b.remarks],
    }


def change_section(before: Predictions, after: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    """The evaluation document's section on the effect of a change: `a` is before, `b` after."""
    compared = compare(Pair(before, after), bootstrap)
    return {key: compared[key] for key in ("differences", "mcnemar_p")}


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p value of McNemar's exact test that two models are right equally often.

    If they are, the images that only one of them classifies correctly are split between them like tosses of a
    fair coin (McNemar, *Psychometrika* 12, 1947, in its exact binomial form). Images are treated as
    independent.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    ways, tail = 1, 1
    # Each binomial coefficient follows from the previous one, in integers. Exactly equal to scipy's
    # binomtest, without importing scipy.stats, which takes longer than the rest of the comparison.
    for k in range(fewer):
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << n))


def _difference(a: float, b: float, ci95: tuple[float, float]) -> dict[str, Any]:
    defined = None if math.isnan(b - a) else bounds(ci95)
    return {"a": number(a), "b": number(b), "difference": number(b - a), "ci95": defined}


def _per_class(
    pair: Pair, right_a: Booleans, right_b: Booleans, bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    classes = pair.a.classes
    of_class = pair.a.true[:, None] == np.arange(len(classes))
    # Only a is right, both or none is, only b is.
    outcomes = 1 + right_b - right_a.astype(np.int64)
    counted = bootstrap.tally(pair.a.true + len(classes) * outcomes, 3 * len(classes))
    lost, same, gained = np.split(counted, 3, axis=1)
    drawn = divide(gained - lost, lost + same + gained)
    rows = {}
    for label, name in enumerate(classes):
        inside = of_class[:, label]
        recall_a, recall_b = (divide((right & inside).sum(), inside.sum()) for right in (right_a, right_b))
        ends = interval(drawn[:, label])
        if ends[1] - ends[0] < 1e-9:
            ends = _unresampled(ends[0], float(bootstrap.units(inside[:, None])[0]))
        rows[name] = {
            "a_recall": number(recall_a),
            "b_recall": number(recall_b),
            "difference": number(recall_b - recall_a),
            "ci95": bounds(ends),
            "support": int(inside.sum()),
            "gained": int((inside & right_b & ~right_a).sum()),
            "lost": int((inside & right_a & ~right_b).sum()),
        }
    return rows


def _unresampled(difference: float, n: float) -> tuple[float, float]:
    """95% interval of a difference in recall that is the same in every resample of n images or groups.

    None of the n differs from the others. By the exact interval of a proportion, at most a share `other` of
    such images does; each of them would change the recall of one model, or turn a gain into a loss.
    """
    other = clopper_pearson(0.0, n)[1] * (1 + abs(difference))
    return max(-1.0, difference - other), min(1.0, difference + other)


def _in_order(predictions: Predictions, classes: tuple[str, ...]) -> Predictions:
    """The same predictions with images sorted by name and the given classes; a new class has no column."""
    ordered = predictions.take(sorted(range(len(predictions)), key=predictions.images.__getitem__))
    position = np.array([classes.index(name) for name in predictions.classes])
    probabilities = ordered.probabilities
    return replace(
        ordered,
        classes=classes,
        predicted=position[ordered.predicted],
        true=position[ordered.true],
        probabilities=None if probabilities is None else probabilities[:, np.argsort(position)],
        logits=None,
    )


def _require_equal(a: set[str], b: set[str], names: tuple[str, str], what: str) -> None:
    only = zip(names, (a - b, b - a), strict=True)
    if parts := [f"only {name} has {first_few(sorted(own))}" for name, own in only if own]:
        raise InputError(f"{names[0]} and {names[1]} differ in their {what}: {'; '.join(parts)}")
