"""Scoring a model on a split, and the document that records the scores."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from skinlesion_cli.core.balance import ens_weights
from skinlesion_cli.core.bootstrap import RESAMPLES, summary_intervals
from skinlesion_cli.core.description import Description
from skinlesion_cli.core.events import OnEvent, ignore
from skinlesion_cli.core.folders import Split, require_classes
from skinlesion_cli.core.inference import predict_split
from skinlesion_cli.core.manifest import groups_of
from skinlesion_cli.core.metrics import Floats, Scores, score, weighted_loss
from skinlesion_cli.core.predictions import Predictions
from skinlesion_cli.core.predictor import Predictor


def predict_and_evaluate(
    predictor: Predictor, split: Split, on_event: OnEvent = ignore
) -> tuple[Predictions, Scores, dict[str, Any]]:
    """Predict every image of a split and score the answers.

    Returns:
        The predictions, their scores, and the document (see `evaluate`).

    Raises:
        InputError: the split's classes are not the model's.
        UnreadableImageError: some images cannot be read.
    """
    require_classes(split, predictor.classes, "the checkpoint")
    predictions = predict_split(
        predictor.backend,
        split,
        predictor.classes,
        batch_size=predictor.batch_size,
        workers=predictor.workers,
        on_event=on_event,
    )
    groups = groups_of(split.root.parent, split.name, split.files)
    scores, document = evaluate(predictions, split.name, _class_weights(predictor.checkpoint), groups)
    return predictions, scores, document


def evaluate(
    predictions: Predictions,
    split: str | None = None,
    class_weights: Floats | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[Scores, dict[str, Any]]:
    """Score predictions and put the scores into the document that `--json` and metrics.json hold.

    Args:
        predictions: with known truth.
        split: the split's name; None for predictions from elsewhere.
        class_weights: (classes,), the weights of the training loss; None where unknown.
        groups: lesion or patient of each image, for the intervals; None where unknown.

    Returns:
        The scores, and the document. A figure that cannot be computed is None in it.
    """
    scores = score(predictions)
    intervals = summary_intervals(predictions, groups)
    weighted = math.nan if class_weights is None else weighted_loss(predictions, class_weights)
    unit = "images" if groups is None else "groups"
    document = {
        "split": split,
        "n": scores.n,
        "classes": list(scores.classes),
        **{name: _number(value) for name, value in scores.summary.items()},
        "weighted_loss": _number(weighted),
        "per_class": {
            name: {
                "precision": _number(one.precision),
                "recall": _number(one.recall),
                "f1": _number(one.f1),
                "support": one.support,
                "auc": _number(one.auc),
            }
            for name, one in scores.per_class.items()
        },
        "confusion_matrix": scores.confusion.tolist(),
        "ci95": {name: None if math.isnan(low) else [low, high] for name, (low, high) in intervals.items()},
        "ci95_method": f"percentile bootstrap, {RESAMPLES} resamples of {unit}",
        "warnings": list(scores.warnings),
    }
    return scores, document


def _class_weights(checkpoint: Description) -> Floats | None:
    beta = checkpoint.settings.get("loss_beta")
    if beta is None or set(checkpoint.class_counts) != set(checkpoint.classes):
        return None
    return np.array(ens_weights([checkpoint.class_counts[name] for name in checkpoint.classes], beta))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
