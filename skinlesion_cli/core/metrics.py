"""Scores of a set of predictions.

Pure functions of arrays. A figure that cannot be computed is NaN here and null in JSON: a class without
images has no recall, and silence about that would read as a score.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.core.predictions import SUM_TOLERANCE, Predictions

SUMMARY = ("accuracy", "balanced_accuracy", "weighted_f1", "macro_f1", "weighted_auc", "loss")

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class against the rest; NaN where a score is undefined."""

    precision: float
    recall: float
    f1: float
    support: int
    auc: float


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


def score(predictions: Predictions) -> Scores:
    """Score predictions whose truth is known.

    Raises:
        ValueError: the truth is unknown.
    """
    if predictions.true is None:
        raise ValueError("predictions without true classes cannot be scored")
    classes = predictions.classes
    confusion = confusion_matrix(predictions.true, predictions.predicted, len(classes))
    precision, recall, f1 = precision_recall_f1(confusion)
    support = confusion.sum(axis=1)
    auc = np.full(len(classes), np.nan)
    if predictions.probabilities is not None:
        auc = one_vs_rest_auc(predictions.true, predictions.probabilities)
    nll = negative_log_likelihood(predictions)
    figures = confusion_summary(confusion)
    figures["weighted_auc"] = weighted_mean(auc, support)
    figures["loss"] = float(nll.mean())
    return Scores(
        classes=classes,
        summary={name: figures[name] for name in SUMMARY},
        per_class={
            name: ClassScores(
                float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]), float(auc[i])
            )
            for i, name in enumerate(classes)
        },
        confusion=confusion,
        warnings=_warnings(predictions, confusion),
    )


def confusion_matrix(true: Ints, predicted: Ints, classes: int) -> Ints:
    """Count images by true class (rows) and predicted class (columns)."""
    counts = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


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
    return _divide(hits, predicted), _divide(hits, support), _divide(2 * hits, predicted + support)


def confusion_summary(confusion: NDArray[Any]) -> dict[str, Any]:
    """The summary figures that follow from a confusion matrix alone.

    Args:
        confusion: (…, classes, classes); leading axes are kept in the figures.

    Returns:
        accuracy; balanced_accuracy, the mean recall of the classes that have images; weighted_f1, the mean F1
        weighted by support; macro_f1, the mean F1 of the classes that occur as truth or prediction.
    """
    _, recall, f1 = precision_recall_f1(confusion)
    support = confusion.sum(axis=-1)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    return {
        "accuracy": _divide(hits, support.sum(axis=-1)),
        "balanced_accuracy": weighted_mean(recall, np.ones_like(recall)),
        "weighted_f1": weighted_mean(f1, support),
        "macro_f1": weighted_mean(f1, np.ones_like(f1)),
    }


def one_vs_rest_auc(true: Ints, probabilities: Floats) -> Floats:
    """Area under the ROC curve of each class against the rest, ties counted half.

    Returns:
        (classes,); NaN for a class without images, or without images of other classes.
    """
    areas = []
    for label in range(probabilities.shape[1]):
        positive = true == label
        # The Mann-Whitney statistic: of all pairs of a positive and a negative, the share in which the
        # positive scores higher.
        negatives = np.sort(probabilities[~positive, label])
        scores = probabilities[positive, label]
        below = np.searchsorted(negatives, scores, side="left")
        up_to = np.searchsorted(negatives, scores, side="right")
        areas.append(_divide((below + up_to).sum() / 2.0, float(len(scores)) * len(negatives)))
    return np.array(areas, dtype=np.float64)


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
    return _divide((np.nan_to_num(values) * weights).sum(axis=-1), weights.sum(axis=-1))


def _divide(numerator: Any, denominator: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(np.asarray(denominator) > 0, np.divide(numerator, denominator), np.nan)
    return quotient if quotient.ndim else float(quotient)


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
        found.append(f"no images of {', '.join(absent)}: recall and AUC of these are undefined")
    never = classes[confusion.sum(axis=0) == 0]
    if len(never):
        found.append(f"never predicted: {', '.join(never)}; precision of these is undefined")
    probabilities = predictions.probabilities
    if probabilities is None:
        found.append("there are no probabilities: AUC and loss are undefined")
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
