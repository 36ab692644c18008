"""Scores of a set of predictions.

A metric that cannot be computed is NaN here and null in JSON: a class without images has no recall. The
metrics are computed for all bootstrap resamples at once, whereas scikit-learn scores one set of predictions
per call (2,000 calls per metric and class); the tests check every metric against scikit-learn.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skinlesion_cli.metrics.arrays import Floats, Ints, Multiplicities, divide
from skinlesion_cli.metrics.packed import Labelled, Packed
from skinlesion_cli.metrics.predictions import SUM_TOLERANCE, Predictions
from skinlesion_cli.metrics.roc import RANKING, Ranking

SUMMARY = ("accuracy", "balanced_accuracy", "weighted_f1", "macro_f1", "weighted_auc", "loss")
PER_CLASS = ("precision", "recall", "f1", *RANKING)


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class against the rest; NaN where a score is undefined."""

    support: int
    precision: float
    recall: float
    f1: float
    auc: float
    average_precision: float
    partial_auc: float
    """Area under the ROC curve above 80% sensitivity, in [0, 0.2]."""
    sensitivity_at_90_specificity: float
    sensitivity_at_95_specificity: float


@dataclass(frozen=True)
class Scores:
    """All scores of a set of predictions; NaN where a score is undefined, which `warnings` explains."""

    classes: tuple[str, ...]
    summary: dict[str, float]
    """The figures named in `SUMMARY`."""
    per_class: dict[str, ClassScores]
    confusion: Ints
    """(classes, classes): rows true, columns predicted."""
    warnings: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())


def score(predictions: Predictions, figures_of: "Figures | None" = None) -> Scores:
    """Score predictions; `figures_of` computes their metrics, if it has been prepared."""
    once = np.ones((1, len(predictions)), dtype=np.uint8)
    found = (figures_of or Figures(predictions))(once)
    k = len(predictions.classes)
    confusion = np.bincount(_cells(predictions), minlength=k * k).reshape(k, k)
    return Scores(
        classes=predictions.classes,
        summary={name: float(found[name][0]) for name in SUMMARY},
        per_class={
            name: ClassScores(
                int(confusion[label].sum()), *(float(found[figure][0, label]) for figure in PER_CLASS)
            )
            for label, name in enumerate(predictions.classes)
        },
        confusion=confusion,
        warnings=_warnings(predictions, confusion),
    )


class Figures:
    """The figures of a set of predictions in resamples: what does not depend on these is computed once."""

    def __init__(self, predictions: Predictions):
        self._decisions, self._losses = Decisions(predictions), negative_log_likelihood(predictions)
        columns = () if predictions.probabilities is None else predictions.probabilities.T
        self._rankings = [Ranking(predictions.true == label, scores) for label, scores in enumerate(columns)]

    def __call__(self, weights: Multiplicities) -> dict[str, Floats]:
        """The figures of `SUMMARY`, each (resamples,), and of `PER_CLASS`, each (resamples, classes).

        A class without images in a resample has no figure there; means over the classes are over the others.
        """
        packed = Packed(weights)
        confusions = self._decisions.confusions(packed)
        found = _figures_of_confusion(confusions)
        found |= {name: np.full(confusions.shape[:2], np.nan) for name in RANKING}
        for label, ranking in enumerate(self._rankings):
            for name, values in ranking.figures(packed).items():
                found[name][:, label] = values
        found["weighted_auc"] = _weighted_mean(found["auc"], confusions.sum(axis=-1))
        found["loss"] = weights.astype(np.float64) @ self._losses / packed.totals
        return found


def figures(predictions: Predictions, weights: Multiplicities) -> dict[str, Floats]:
    """As `Figures`, for one call."""
    return Figures(predictions)(weights)


class Decisions:
    """The metrics of `Figures` that need no probabilities, in much less time."""

    def __init__(self, predictions: Predictions):
        self._k = len(predictions.classes)
        self._cells = Labelled(_cells(predictions), self._k**2)

    def confusions(self, packed: Packed) -> Floats:
        """The matrix of each resample, rows true, columns predicted: (resamples, classes, classes)."""
        return packed.tally(self._cells).reshape(-1, self._k, self._k)

    def __call__(self, packed: Packed) -> dict[str, Any]:
        """The metrics, each (resamples,) or (resamples, classes)."""
        return _figures_of_confusion(self.confusions(packed))


def negative_log_likelihood(predictions: Predictions) -> Floats:
    """Minus the natural logarithm of the true class's probability, for each image: (n,).

    All are NaN without probabilities, if rows do not sum to 1, or if a true class has probability 0, whose
    loss is infinite.
    """
    undefined = np.full(len(predictions), np.nan)
    if predictions.probabilities is None or not _rows_sum_to_one(predictions.probabilities):
        return undefined
    given = _of_true_class(predictions.probabilities, predictions.true)
    return undefined if (given <= 0).any() else -np.log(given)


def weighted_loss(predictions: Predictions, class_weights: Floats) -> float:
    """Cross-entropy weighted by the true class, the mean that torch's `CrossEntropyLoss(weight=…)` takes.

    It is sum_i w_yi nll_i / sum_i w_yi, for `class_weights` (classes,), each above 0; NaN where the
    likelihood is undefined.
    """
    weights = class_weights[predictions.true]
    return float((weights * negative_log_likelihood(predictions)).sum() / weights.sum())


def _cells(predictions: Predictions) -> Ints:
    """The cell of the confusion matrix that each image is in, counted along the rows: (n,)."""
    return predictions.true * len(predictions.classes) + predictions.predicted


def _figures_of_confusion(confusions: Floats) -> dict[str, Any]:
    """The figures that follow from confusion matrices alone; precision, recall and F1 are per class.

    All are NaN for a class without images: its precision and F1 would be 0 as soon as one image is predicted
    as it, although there are no images to judge by. For a class that is never predicted, precision is NaN,
    too, and F1 = 2 TP / (2 TP + FP + FN) is 0.
    """
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    predicted, support = confusions.sum(axis=-2), confusions.sum(axis=-1)
    recall = divide(hits, support)
    precision, f1 = (
        np.where(support > 0, values, np.nan)
        for values in (divide(hits, predicted), divide(2 * hits, predicted + support))
    )
    return {
        "accuracy": divide(hits.sum(axis=-1), support.sum(axis=-1)),
        "balanced_accuracy": _weighted_mean(recall),
        "weighted_f1": _weighted_mean(f1, support),
        "macro_f1": _weighted_mean(f1),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def _weighted_mean(values: Floats, weights: Floats | float = 1.0) -> Floats:
    """Mean over the last axis of the values that are defined; NaN where none has a positive weight."""
    weights = np.where(np.isnan(values), 0.0, weights)
    mean: Floats = divide((np.nan_to_num(values) * weights).sum(axis=-1), weights.sum(axis=-1))
    return mean


def _rows_sum_to_one(probabilities: Floats) -> bool:
    return bool((np.abs(probabilities.sum(axis=1) - 1.0) <= SUM_TOLERANCE).all())


def _of_true_class(probabilities: Floats, true: Ints) -> Floats:
    return probabilities[np.arange(len(true)), true]


def _warnings(predictions: Predictions, confusion: Ints) -> tuple[str, ...]:
    found = []
    classes = np.array(predictions.classes)
    support = confusion.sum(axis=1)
    if len(absent := classes[support == 0]):
        rest = f"means over the classes are over the other {len(classes) - len(absent)}"
        undefined = "their recall, F1, AUC and similar metrics are undefined"
        found.append(f"no images of {', '.join(absent)}: {undefined}; {rest}")
    if support.max() == len(predictions):
        found.append(f"all images are of {classes[support.argmax()]}: AUC and similar metrics are undefined")
    if len(never := classes[confusion.sum(axis=0) == 0]):
        found.append(f"never predicted: {', '.join(never)}; their precision is undefined")
    probabilities = predictions.probabilities
    if probabilities is None:
        return (*found, "no probabilities: loss, AUC and similar metrics are undefined")
    if not _rows_sum_to_one(probabilities):
        found.append("the probabilities of some images do not sum to 1: the loss is undefined")
    elif zeros := int((_of_true_class(probabilities, predictions.true) <= 0).sum()):
        found.append(f"{zeros} images give their true class the probability 0: the loss is infinite")
    chosen = probabilities[np.arange(len(predictions)), predictions.predicted]
    if differing := int((chosen < probabilities.max(axis=1)).sum()):
        found.append(f"y_pred is not the most probable class in {differing} rows; y_pred is scored")
    return tuple(found)
