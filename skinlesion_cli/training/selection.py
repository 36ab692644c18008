"""Which epoch is the best: its validation scores, and the one that decides."""

import math
from typing import Any

from skinlesion_cli.metrics.arrays import Floats, number
from skinlesion_cli.metrics.classification import score, weighted_loss
from skinlesion_cli.metrics.predictions import Predictions

SCORES = ("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy", "weighted_auc")
"""Validation scores of an epoch, besides the loss."""


def epoch_scores(predictions: Predictions, class_weights: Floats) -> dict[str, Any]:
    """The fields `val_…` of an `EpochRecord`; None for a score that is undefined."""
    summary = score(predictions).summary
    scores = {f"val_{name}": number(summary[name]) for name in SCORES}
    return {"val_loss": weighted_loss(predictions, class_weights), **scores}


def selection_score(scores: dict[str, Any], select: str) -> float:
    """The score of `epoch_scores` that `--select` names, higher is better; an undefined one is the worst."""
    value = scores["val_" + select.replace("-", "_")]
    if value is None or math.isnan(value):
        return -math.inf
    return -value if select == "loss" else float(value)
