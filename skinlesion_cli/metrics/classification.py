"""Scores of a set of predictions.

Pure functions of arrays. A figure that cannot be computed is NaN here and null in JSON: a class without
images has no recall, and silence about that would read as a score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.arrays import Floats as Floats
from skinlesion_cli.metrics.arrays import Ints as Ints
from skinlesion_cli.metrics.arrays import Multiplicities, divide
from skinlesion_cli.metrics.predictions import SUM_TOLERANCE, Predictions
from skinlesion_cli.metrics.roc import RANKING, ranking_figures

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
    """Area below the ROC curve and above 80 % sensitivity, in [0, 0.2]."""
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


def score(predictions: Predictions, labels: Sequence[int] | None = None) -> Scores:
    """Score predictions whose truth is known.

    Args:
        predictions: with known truth.
        labels: the classes that count in macro F1, by index; None takes those that occur.

    Raises:
        ValueError: the truth is unknown.
    """
    if predictions.true is None:
        raise ValueError("predictions without true classes cannot be scored")
    found = figures(predictions, labels=labels)
    confusion = confusion_matrix(predictions.true, predictions.predicted, len(predictions.classes))
    support = confusion.sum(axis=1)
    return Scores(
        classes=predictions.classes,
        summary={name: float(found[name][0]) for name in SUMMARY},
        per_class={
            name: ClassScores(
                support=int(support[label]),
                **{figure: float(found[figure][0, label]) for figure in PER_CLASS},
            )
            for label, name in enumerate(predictions.classes)
        },
        confusion=confusion,
        warnings=_warnings(predictions, confusion),
    )


def figures(
    predictions: Predictions, weights: Multiplicities | None = None, labels: Sequence[int] | None = None
) -> dict[str, Floats]:
    """Every figure of every resample, NaN where it is undefined.

    Args:
        predictions: with known truth.
        weights: (resamples, n), the multiplicities; None for one resample that holds each image once.
        labels: the classes that count in macro F1, by index; None takes those that occur.

    Returns:
        The figures of `SUMMARY`, each (resamples,), and those of `PER_CLASS`, each (resamples, classes).
    """
    assert predictions.true is not None
    k = len(predictions.classes)
    weights = np.ones((1, len(predictions)), dtype=np.float32) if weights is None else weights
    confusions = _confusions(predictions.true, predictions.predicted, k, weights)
    found = confusion_summary(confusions, labels)
    found["precision"], found["recall"], found["f1"] = precision_recall_f1(confusions)
    found |= {name: np.full((len(weights), k), np.nan) for name in RANKING}
    if predictions.probabilities is not None:
        for label in range(k):
            scores = predictions.probabilities[:, label]
            for name, values in ranking_figures(predictions.true == label, scores, weights).items():
                found[name][:, label] = values
    found["weighted_auc"] = weighted_mean(found["auc"], confusions.sum(axis=-1))
    found["loss"] = weights @ negative_log_likelihood(predictions) / weights.sum(axis=1)
    return found


def confusion_matrix(true: Ints, predicted: Ints, classes: int) -> Ints:
    """Count images by true class (rows) and predicted class (columns)."""
    counts = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def _confusions(true: Ints, predicted: Ints, classes: int, weights: Multiplicities) -> Floats:
    """The confusion matrix of each resample: (resamples, classes, classes)."""
    pair = true * classes + predicted
    order = np.argsort(pair, kind="stable")
    pairs, starts = np.unique(pair[order], return_index=True)
    counts = np.zeros((len(weights), classes * classes))
    counts[:, pairs] = np.add.reduceat(np.take(weights, order, axis=1), starts, axis=1)
    return counts.reshape(-1, classes, classes)


def precision_recall_f1(confusion: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each class.

    Args:
        confusion: (…, classes, classes), rows true, columns predicted; leading axes are kept.

    Returns:
        Three arrays (…, classes). Precision is NaN for a class that is never predicted, recall for one
        without images, F1 = 2 TP / (2 TP + FP + FN) for one that is neither.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    predicted = confusion.sum(axis=-2).astype(np.float64)
    support = confusion.sum(axis=-1).astype(np.float64)
    return divide(hits, predicted), divide(hits, support), divide(2 * hits, predicted + support)


def confusion_summary(confusion: NDArray[Any], labels: Sequence[int] | None = None) -> dict[str, Any]:
    """The summary figures that follow from a confusion matrix alone.

    Args:
        confusion: (…, classes, classes); leading axes are kept in the figures.
        labels: the classes that count in macro F1, by index; None takes those that occur.

    Returns:
        accuracy; balanced_accuracy, the mean recall of the classes that have images; weighted_f1, the mean F1
        weighted by support; macro_f1, the mean F1 of `labels`, or of the classes that occur as truth or
        prediction.
    """
    _, recall, f1 = precision_recall_f1(confusion)
    support = confusion.sum(axis=-1)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    counted = f1 if labels is None else f1[..., list(labels)]
    return {
        "accuracy": divide(hits, support.sum(axis=-1)),
        "balanced_accuracy": weighted_mean(recall, np.ones_like(recall)),
        "weighted_f1": weighted_mean(f1, support),
        "macro_f1": weighted_mean(counted, np.ones_like(counted)),
    }


def negative_log_likelihood(predictions: Predictions) -> Floats:
    """Minus the natural logarithm of the true class's probability, for each image.

    Returns:
        (n,); all NaN where it means nothing: no probabilities, rows that do not sum to 1, or a true class
        given the probability 0, whose loss is infinite.
    """
    undefined = np.full(len(predictions), np.nan)
    if predictions.probabilities is None or not _rows_sum_to_one(predictions.probabilities):
        return undefined
    given = _of_true_class(predictions)
    return undefined if (given <= 0).any() else -np.log(given)


def weighted_loss(predictions: Predictions, class_weights: Floats) -> float:
    """Cross-entropy weighted by the true class, the mean that torch's `CrossEntropyLoss(weight=…)` takes.

    Args:
        predictions: with known truth.
        class_weights: (classes,), each above 0.

    Returns:
        sum_i w_yi nll_i / sum_i w_yi; NaN where the likelihood is undefined.
    """
    weights = class_weights[predictions.true]
    return float((weights * negative_log_likelihood(predictions)).sum() / weights.sum())


def weighted_mean(values: NDArray[Any], weights: NDArray[Any]) -> Any:
    """Mean over the last axis of the values that are defined; NaN where none of positive weight is."""
    weights = np.where(np.isnan(values), 0.0, weights)
    return divide((np.nan_to_num(values) * weights).sum(axis=-1), weights.sum(axis=-1))


def _rows_sum_to_one(probabilities: Floats) -> bool:
    return bool((np.abs(probabilities.sum(axis=1) - 1.0) <= SUM_TOLERANCE).all())


def _of_true_class(predictions: Predictions) -> Floats:
    assert predictions.probabilities is not None
    assert predictions.true is not None
    return predictions.probabilities[np.arange(len(predictions)), predictions.true]


def _warnings(predictions: Predictions, confusion: Ints) -> tuple[str, ...]:
    found = []
    classes = np.array(predictions.classes)
    absent = classes[confusion.sum(axis=1) == 0]
    if len(absent):
        found.append(f"no images of {', '.join(absent)}: recall, AUC and the like of these are undefined")
    if confusion.sum(axis=1).max() == len(predictions):
        only = classes[confusion.sum(axis=1).argmax()]
        found.append(f"all images are of {only}: AUC and the like are undefined")
    never = classes[confusion.sum(axis=0) == 0]
    if len(never):
        found.append(f"never predicted: {', '.join(never)}; precision of these is undefined")
    probabilities = predictions.probabilities
    if probabilities is None:
        found.append("there are no probabilities: loss, AUC and the like are undefined")
    elif not _rows_sum_to_one(probabilities):
        found.append("the probabilities of some images do not sum to 1: the loss is undefined")
    elif zeros := int((_of_true_class(predictions) <= 0).sum()):
        found.append(f"{zeros} images give their true class the probability 0: the loss is infinite")
    if probabilities is not None:
        top = probabilities.max(axis=1)
        chosen = probabilities[np.arange(len(predictions)), predictions.predicted]
        if differing := int((chosen < top).sum()):
            found.append(f"y_pred is not the most probable class in {differing} rows; y_pred is scored")
    return tuple(found)
