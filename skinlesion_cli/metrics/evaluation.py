"""Scoring a model on a split, and the document that records the scores."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.data.class_balance import ens_weights
from skinlesion_cli.data.manifest import Origins, origins_of
from skinlesion_cli.data.splits import Split, read_split, require_classes
from skinlesion_cli.inference.backend import Backend, predict_split
from skinlesion_cli.inference.predictor import Predictor
from skinlesion_cli.inference.tta import FlipAveraged, flips_section
from skinlesion_cli.metrics.bootstrap import RESAMPLES, interval, resampled_figures
from skinlesion_cli.metrics.calibration import calibrated, calibration_document
from skinlesion_cli.metrics.classification import PER_CLASS, SUMMARY, Floats, Scores, score, weighted_loss
from skinlesion_cli.metrics.documents import bounds, number
from skinlesion_cli.metrics.malignant import malignant_classes, malignant_section, malignant_warnings
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.selective import selective_document
from skinlesion_cli.metrics.subgroups import block_section, block_warnings
from skinlesion_cli.models.model_info import Description

VALIDATION = "val"
"""The split that thresholds are chosen on."""


def predict_and_evaluate(
    predictor: Predictor,
    split: Split,
    on_event: OnEvent = ignore,
    *,
    malignant: Sequence[str] | None = None,
    target_accuracy: float | None = None,
    flips: bool = False,
) -> tuple[Predictions, Scores, dict[str, Any]]:
    """Predict every image of a split and score the answers.

    Args:
        predictor: the model.
        split: its classes are the model's.
        on_event: is told of the progress.
        malignant: the malignant classes; None takes the usual ones (see `malignant_classes`).
        target_accuracy: the accuracy for which a confidence threshold is sought on the data set's `val`.
        flips: whether the answers are means over flipped views.

    Returns:
        The predictions, their scores, and the document (see `evaluate`).

    Raises:
        InputError: the split's classes are not the model's, or the malignant ones are not.
        UnreadableImageError: some images cannot be read.
    """
    require_classes(split, predictor.classes, "the checkpoint")
    malignant_classes(predictor.classes, malignant)
    origins = origins_of(split.root.parent, split.name, split.files)
    others = None
    if target_accuracy is not None and split.name != VALIDATION:
        others = read_split(split.root.parent, VALIDATION)
        require_classes(others, predictor.classes, "the checkpoint")

    def predicted(images: Split, backend: Backend) -> Predictions:
        return predict_split(
            backend,
            images,
            predictor.classes,
            batch_size=predictor.batch_size,
            workers=predictor.workers,
            on_event=on_event,
        )

    backend = FlipAveraged(predictor.backend) if flips else predictor.backend
    predictions = predicted(split, backend)
    scores, document = evaluate(
        predictions,
        split.name,
        _class_weights(predictor.checkpoint),
        origins=origins,
        malignant=malignant,
        temperature=None if predictor.checkpoint.temperature == 1.0 else predictor.checkpoint.temperature,
        target_accuracy=target_accuracy,
        validation=predictions if others is None else predicted(others, backend),
        plain=predicted(split, predictor.backend) if flips else None,
    )
    return predictions, scores, document


def evaluate(
    predictions: Predictions,
    split: str | None = None,
    class_weights: Floats | None = None,
    *,
    origins: Origins | None = None,
    malignant: Sequence[str] | None = None,
    temperature: float | None = None,
    target_accuracy: float | None = None,
    validation: Predictions | None = None,
    plain: Predictions | None = None,
) -> tuple[Scores, dict[str, Any]]:
    """Score predictions and put the scores into the document that `--json` and metrics.json hold.

    Args:
        predictions: with known truth.
        split: the split's name; None for predictions from elsewhere.
        class_weights: (classes,), the weights of the training loss; None where unknown.
        origins: group and source of each image; None where unknown.
        malignant: the malignant classes; None takes the usual ones (see `malignant_classes`).
        temperature: what the probabilities were softened by; None where they never were.
        target_accuracy: the accuracy for which a confidence threshold is sought on `validation`.
        validation: the same model's predictions on validation.
        plain: the same model's predictions without flips, where these are means over flipped views.

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
        "calibration": _calibration_section(predictions, temperature, plain, groups),
        "selective": selective_document(predictions, target_accuracy, validation, groups),
        "tta": None if plain is None else flips_section(plain, predictions, groups),
        "warnings": warnings,
    }
    return scores, document


def _calibration_section(
    predictions: Predictions,
    temperature: float | None,
    plain: Predictions | None,
    groups: Sequence[str] | None,
) -> dict[str, Any]:
    # A mean over flipped views has no temperature of its own, so there is nothing to compare it with.
    if temperature is None or plain is not None:
        return calibration_document(predictions, None, groups)
    return calibration_document(calibrated(predictions, 1.0 / temperature), temperature, groups)


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
    beta, counts = checkpoint.settings.get("loss_beta"), checkpoint.class_counts
    if not isinstance(beta, int | float) or not 0 <= beta <= 1 or set(counts) != set(checkpoint.classes):
        return None
    if min(counts.values()) < 1:
        return None
    return np.array(ens_weights([counts[name] for name in checkpoint.classes], beta))
