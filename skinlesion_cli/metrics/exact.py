"""Exact intervals of metrics that are the same in every resample: 0 of 4 does not prove a rate of 0.

A proportion has the Clopper–Pearson interval (*Biometrika* 26, 1934). For an effective number of images that
is not whole, and a share inside (0, 1), it is continued as Korn and Graubard do (*Survey Methodology* 24,
1998). In grouped data, n is the number of groups: at 0 or 1 no design effect can be estimated, and groups
whose images are all alike are the worst case. A mean of values in [0, 1] that are all 0 or all 1, such as an
AUC of 1, cannot be less certain than a proportion, so it takes the same interval.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from skinlesion_cli.metrics.arrays import Booleans, Floats, bounds
from skinlesion_cli.metrics.bootstrap import LEVEL, Bootstrap, interval
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.roc import MIN_SENSITIVITY, RANKING

_SAME = 1e-9


def clopper_pearson(share: float, n: float) -> tuple[float, float]:
    """The exact 95% interval of a proportion of n > 0; `share` and n · share need not be whole."""
    from scipy.special import betaincinv

    tail, hits, misses = (1 - LEVEL) / 2, share * n, n - share * n
    low = 0.0 if hits <= _SAME else float(betaincinv(hits, misses + 1, tail))
    high = 1.0 if misses <= _SAME else float(betaincinv(hits + 1, misses, 1 - tail))
    return low, high


def exact_interval(name: str, value: float, n: float) -> tuple[float, float]:
    """The exact 95% interval of a figure of that name, from n images or groups.

    F1 = 2 J / (1 + J), where J = TP / (TP + FP + FN) is a proportion: the hits among the n images that are of
    the class or predicted as it. The partial AUC, from 0 to 0.2, is a mean over the fifth of the positives
    that rank lowest. The Brier score is from 0 to 2.
    """
    if name == "f1":
        low, high = clopper_pearson(value / (2 - value), n)
        return 2 * low / (1 + low), 2 * high / (1 + high)
    scale, part = {"partial_auc": (1 - MIN_SENSITIVITY, 1 - MIN_SENSITIVITY), "brier": (2.0, 1.0)}.get(
        name, (1.0, 1.0)
    )
    low, high = clopper_pearson(min(value / scale, 1.0), n * part)
    return low * scale, high * scale


def interval_or_exact(
    name: str, value: float, ends: tuple[float, float], n: float | None
) -> tuple[tuple[float, float], int | None]:
    """The bootstrap interval `ends`, or the exact one if they are not informative; and the n of an exact one.

    They are not informative if they are equal, or if there is only one image or group to resample. A metric
    without an n, such as a loss, then has no interval.
    """
    if math.isnan(value) or math.isnan(ends[0]) or (ends[1] - ends[0] > _SAME and (n is None or n > 1)):
        return ends, None
    if n is None or n <= 0:
        return (math.nan, math.nan), None
    return exact_interval(name, value, n), int(n)


def intervals(
    found: Mapping[str, float], drawn: Mapping[str, Floats], counted: Mapping[str, float]
) -> dict[str, Any]:
    """`ci95` of some figures for a document, and `exact_n`: the n of those whose interval is exact.

    Args:
        found: each figure.
        drawn: the figures of the resamples, each (resamples,).
        counted: how many images or groups each is a proportion of; a figure that is none is absent.
    """
    made = {
        name: interval_or_exact(name, value, interval(drawn[name]), counted.get(name))
        for name, value in found.items()
    }
    return as_document(made)


def as_document(made: Mapping[str, tuple[tuple[float, float], int | None]]) -> dict[str, Any]:
    """`ci95` and `exact_n` of a document, from what `interval_or_exact` gives for each figure."""
    return {
        "ci95": {name: bounds(ends) for name, (ends, _) in made.items()},
        "exact_n": {name: n for name, (_, n) in made.items() if n is not None},
    }


def class_counts(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Floats]:
    """For each figure of a class against the rest, how many images or groups it counts: (classes,)."""
    labels = np.arange(len(predictions.classes))
    true, predicted = (one[:, None] == labels for one in (predictions.true, predictions.predicted))
    support = bootstrap.units(true)
    return {
        "precision": bootstrap.units(predicted),
        "recall": support,
        "f1": bootstrap.units(true | predicted),
        **dict.fromkeys(RANKING, np.minimum(support, bootstrap.units(~true))),
    }


def summary_counts(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, float]:
    """How many images or groups the mean over the classes is worth, for each summary figure but the loss.

    If no image of any class is wrong, Σ w_k p_k ≥ exp(Σ w_k ln p_k), by Jensen's inequality, and the p_k that
    make this probable enough have Σ m_k ln p_k ≥ ln 0.025, where m_k images of class k have the weight w_k in
    the mean. So the mean is at least the lower end of a proportion of min(m_k / w_k) images.
    """
    true = predictions.true[:, None] == np.arange(len(predictions.classes))
    true = true[:, true.any(axis=0)]
    support, share = bootstrap.units(true), true.mean(axis=0)
    ranked = np.minimum(support, bootstrap.units(~true))
    # Of two classes, the AUC is one and the same figure.
    weighted_auc = ranked.min() if len(support) == 2 else (ranked / share).min()
    everything = float(bootstrap.units(np.ones((len(predictions), 1), dtype=bool))[0])
    of_means = float(len(support) * support.min())
    return {
        "accuracy": everything,
        "weighted_f1": everything,
        "balanced_accuracy": of_means,
        "macro_f1": of_means,
        "weighted_auc": math.floor(weighted_auc + _SAME),
    }


def counts_of(bootstrap: Bootstrap, rows: Mapping[str, Booleans]) -> dict[str, float]:
    """How many images or groups lie among each of the named rows, (n,)."""
    return {name: float(bootstrap.units(inside[:, None])[0]) for name, inside in rows.items()}
