"""The document that records the scores of a set of predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

from skinlesion_cli.metrics.arrays import Floats, number
from skinlesion_cli.metrics.bins import Partition, partition
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.calibration import calibration_document
from skinlesion_cli.metrics.classification import PER_CLASS, Figures, Scores, score, weighted_loss
from skinlesion_cli.metrics.exact import class_counts, intervals, summary_counts
from skinlesion_cli.metrics.malignant import (
    CHOSEN,
    chosen_point,
    is_malignant,
    malignant_classes,
    malignant_section,
    malignant_warnings,
)
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.selective import selective_document
from skinlesion_cli.metrics.subgroups import Calls, block_section, block_warnings, subgroup_sections


def evaluate(
    predictions: Predictions,
    split: str | None = None,
    class_weights: Floats | None = None,
    *,
    groups: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    by: Mapping[str, Sequence[str]] | None = None,
    malignant: Sequence[str] | None = None,
    target_accuracy: float | None = None,
    validation: Predictions | None = None,
) -> tuple[Scores, dict[str, Any]]:
    """Score predictions; the scores, and the document that `--json` and metrics.json contain.

    Args:
        predictions: with their logits and temperature, if a temperature was applied.
        split: the split's name; None for a file of predictions.
        class_weights: (classes,), the weights of the training loss; None if unknown.
        groups: lesion or patient of each image, for the intervals; None treats images as independent.
        sources: data set, camera or clinic of each image; None if unknown.
        by: for scores within subgroups, columns such as sex or age: a text for each image, empty where it is
            unknown (see `partition`).
        malignant: the malignant classes; None takes the usual ones (see `malignant_classes`).
        target_accuracy: the accuracy for which a confidence threshold is chosen on `validation`.
        validation: the same model's predictions on validation, on which thresholds are chosen.
    """
    partitions = {column: partition(column, cells) for column, cells in (by or {}).items()}
    bootstrap = Bootstrap(len(predictions), groups)
    malignant = malignant_classes(predictions.classes, malignant)
    of_malignant = malignant_section(predictions, malignant, bootstrap, validation)
    figures_of = Figures(predictions)
    scores, drawn = score(predictions, figures_of), bootstrap.figures(figures_of)
    counted = class_counts(predictions, bootstrap)
    blocks = block_section(predictions, sources, bootstrap)
    subgroups, gaps = _subgroups(predictions, partitions, malignant, validation, bootstrap)
    document = {
        "split": split,
        "n": scores.n,
        "classes": list(scores.classes),
        **{name: number(value) for name, value in scores.summary.items()},
        "weighted_loss": None if class_weights is None else number(weighted_loss(predictions, class_weights)),
        "per_class": {
            name: {
                "support": one.support,
                "predicted": int(scores.confusion[:, label].sum()),
                **{figure: number(getattr(one, figure)) for figure in PER_CLASS},
                **intervals(
                    {figure: getattr(one, figure) for figure in PER_CLASS},
                    {figure: drawn[figure][:, label] for figure in PER_CLASS},
                    {figure: counted[figure][label] for figure in PER_CLASS},
                ),
            }
            for label, (name, one) in enumerate(scores.per_class.items())
        },
        "confusion_matrix": scores.confusion.tolist(),
        **intervals(scores.summary, drawn, summary_counts(predictions, bootstrap)),
        "ci95_method": bootstrap.method,
        "resampling_unit": bootstrap.unit,
        "malignant": of_malignant,
        "blocks": blocks,
        "subgroups": subgroups,
        "gaps": gaps,
        "calibration": calibration_document(predictions, bootstrap),
        "selective": selective_document(predictions, bootstrap, target_accuracy, validation),
        # What callers add: `predict_and_evaluate` where there is more than one answer to compare.
        **dict.fromkeys(("tta", "ensemble", "prior", "class_map")),
        "warnings": [
            *predictions.remarks,
            *scores.warnings,
            *malignant_warnings(of_malignant, predictions.classes),
            *block_warnings(blocks, scores.summary),
            *_point_warnings(of_malignant, by),
        ],
    }
    return scores, document


def _subgroups(
    predictions: Predictions,
    by: Mapping[str, Partition],
    malignant: Sequence[str],
    validation: Predictions | None,
    bootstrap: Bootstrap,
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if not by:
        return None, None
    calls = None
    if malignant:
        point = chosen_point(predictions, malignant, validation)
        calls = Calls(is_malignant(predictions, malignant), point.called)
    return subgroup_sections(predictions, by, calls, bootstrap)


def _point_warnings(malignant: dict[str, Any] | None, by: Mapping[str, Any] | None) -> list[str]:
    """What the sensitivities of subgroups are, where no threshold was chosen on validation."""
    if not by or (malignant and malignant["operating_points"][-1]["name"] == CHOSEN):
        return []
    if not malignant:
        return ["no malignant classes: subgroups have no sensitivity and specificity"]
    return [
        "no threshold from validation: sensitivity and specificity of subgroups are of the predicted class"
    ]
