"""The document that records the scores of a set of predictions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.metrics.bootstrap import RESAMPLES, interval, resampled_figures
from skinlesion_cli.metrics.calibration import calibrated, calibration_document
from skinlesion_cli.metrics.classification import PER_CLASS, SUMMARY, Scores, score, weighted_loss
from skinlesion_cli.metrics.documents import bounds, number
from skinlesion_cli.metrics.malignant import malignant_classes, malignant_section, malignant_warnings
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.selective import selective_document
from skinlesion_cli.metrics.subgroups import block_section, block_warnings


def evaluate(
    predictions: Predictions,
    split: str | None = None,
    class_weights: Floats | None = None,
    *,
    groups: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    malignant: Sequence[str] | None = None,
    temperature: float | None = None,
    target_accuracy: float | None = None,
    validation: Predictions | None = None,
) -> tuple[Scores, dict[str, Any]]:
    """Score predictions and put the scores into the document that `--json` and metrics.json hold.

    Args:
        predictions: with known truth.
        split: the split's name; None for predictions from elsewhere.
        class_weights: (classes,), the weights of the training loss; None where unknown.
        groups: lesion or patient of each image, for the intervals; None takes images as independent.
        sources: data set, camera or clinic of each image; None where unknown.
        malignant: the malignant classes; None takes the usual ones (see `malignant_classes`).
        temperature: what the probabilities were softened by; None where they never were.
        target_accuracy: the accuracy for which a confidence threshold is sought on `validation`.
        validation: the same model's predictions on validation.

    Returns:
        The scores, and the document. A figure that cannot be computed is None in it.

    Raises:
        InputError: a malignant class is none of the predictions' classes.
    """
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
        "resampling_unit": unit,
        "malignant": dangerous,
        "blocks": blocks,
        "calibration": _calibration_section(predictions, temperature, groups),
        "selective": selective_document(predictions, target_accuracy, validation, groups),
        "tta": None,
        "warnings": warnings,
    }
    return scores, document


def _calibration_section(
    predictions: Predictions,
    temperature: float | None,
    groups: Sequence[str] | None,
) -> dict[str, Any]:
    if temperature is None:
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
