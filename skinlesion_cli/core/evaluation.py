"""Scoring a model on a split, and the document that records the scores."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinlesion_cli.core.balance import ens_weights
from skinlesion_cli.core.blocks import block_section, block_warnings
from skinlesion_cli.core.bootstrap import RESAMPLES, interval, resampled_figures
from skinlesion_cli.core.description import Description
from skinlesion_cli.core.documents import bounds, number
from skinlesion_cli.core.events import OnEvent, ignore
from skinlesion_cli.core.folders import Split, require_classes
from skinlesion_cli.core.inference import predict_split
from skinlesion_cli.core.malignancy import malignant_classes, malignant_section, malignant_warnings
from skinlesion_cli.core.manifest import Origins, origins_of
from skinlesion_cli.core.metrics import PER_CLASS, SUMMARY, Floats, Scores, score, weighted_loss
from skinlesion_cli.core.predictions import Predictions
from skinlesion_cli.core.predictor import Predictor


def predict_and_evaluate(
    predictor: Predictor,
    split: Split,
    on_event: OnEvent = ignore,
    *,
    malignant: Sequence[str] | None = None,
) -> tuple[Predictions, Scores, dict[str, Any]]:
    """Predict every image of a split and score the answers.

    Args:
        predictor: the model.
        split: its classes are the model's.
        on_event: is told of the progress.
        malignant: the malignant classes; None takes the usual ones (see `malignant_classes`).

    Returns:
        The predictions, their scores, and the document (see `evaluate`).

    Raises:
        InputError: the split's classes are not the model's, or the malignant ones are not.
        UnreadableImageError: some images cannot be read.
    """
    require_classes(split, predictor.classes, "the checkpoint")
    malignant_classes(predictor.classes, malignant)
    origins = origins_of(split.root.parent, split.name, split.files)
    predictions = predict_split(
        predictor.backend,
        split,
        predictor.classes,
        batch_size=predictor.batch_size,
        workers=predictor.workers,
        on_event=on_event,
    )
    scores, document = evaluate(
        predictions, split.name, _class_weights(predictor.checkpoint), origins=origins, malignant=malignant
    )
    return predictions, scores, document


def evaluate(
    predictions: Predictions,
    split: str | None = None,
    class_weights: Floats | None = None,
    *,
    origins: Origins | None = None,
    malignant: Sequence[str] | None = None,
) -> tuple[Scores, dict[str, Any]]:
    """Score predictions and put the scores into the document that `--json` and metrics.json hold.

    Args:
        predictions: with known truth.
        split: the split's name; None for predictions from elsewhere.
        class_weights: (classes,), the weights of the training loss; None where unknown.
        origins: group and source of each image; None where unknown.
        malignant: the malignant classes; None takes the usual ones (see `malignant_classes`).

    Returns:
        The scores, and the document. A figure that cannot be computed is None in it.

    Raises:
        InputError: a malignant class is none of the predictions' classes.
    """
    groups, sources = (None, None) if origins is None else (origins.groups, origins.sources)
    dangerous = malignant_section(predictions, malignant_classes(predictions.classes, malignant), groups)
    scores = score(predictions)
    drawn = resampled_figures(predictions, groups)
    weighted = math.nan if class_weights is None else weighted_loss(predictions, class_weights)
    blocks = block_section(predictions, sources, groups)
    warnings = [*scores.warnings, *malignant_warnings(dangerous), *block_warnings(blocks, scores.summary)]
    unit = "images" if groups is None else "groups"
    document = {
        "split": split,
        "n": scores.n,
        "classes": list(scores.classes),
        **{name: number(value) for name, value in scores.summary.items()},
        "weighted_loss": number(weighted),
        "per_class": _class_section(scores, drawn),
        "confusion_matrix": scores.confusion.tolist(),
        "ci95": {name: bounds(interval(drawn[name])) for name in SUMMARY},
        "ci95_method": f"percentile bootstrap, {RESAMPLES} resamples of {unit}",
        "malignant": dangerous,
        "blocks": blocks,
        # Further sections come here, a call each; each has its file in core/.
        "warnings": warnings,
    }
    return scores, document


def _class_section(scores: Scores, drawn: Mapping[str, Floats]) -> dict[str, Any]:
    """Figures of each class, with their intervals.

    Args:
        scores: of the images as they are.
        drawn: the figures of `PER_CLASS` in each resample, (resamples, classes).
    """
    section: dict[str, Any] = {}
    for label, (name, one) in enumerate(scores.per_class.items()):
        section[name] = {
            "support": one.support,
            **{figure: number(getattr(one, figure)) for figure in PER_CLASS},
            "ci95": {figure: bounds(interval(drawn[figure][:, label])) for figure in PER_CLASS},
        }
    return section


def _class_weights(checkpoint: Description) -> Floats | None:
    beta = checkpoint.settings.get("loss_beta")
    if beta is None or set(checkpoint.class_counts) != set(checkpoint.classes):
        return None
    return np.array(ens_weights([checkpoint.class_counts[name] for name in checkpoint.classes], beta))
