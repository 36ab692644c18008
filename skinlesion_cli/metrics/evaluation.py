"""The document that records the scores of a set of predictions."""

from collections.abc import Sequence
from typing import Any

from skinlesion_cli.metrics.arrays import Floats, number
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.calibration import calibration_document
from skinlesion_cli.metrics.classification import PER_CLASS, Scores, figures, score, weighted_loss
from skinlesion_cli.metrics.exact import class_counts, intervals, summary_counts
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
        malignant: the malignant classes; None takes the usual ones (see `malignant_classes`).
        target_accuracy: the accuracy for which a confidence threshold is chosen on `validation`, the same
            model's predictions on validation.
    """
    bootstrap = Bootstrap(len(predictions), groups)
    malignant = malignant_classes(predictions.classes, malignant)
    of_malignant = malignant_section(predictions, malignant, bootstrap)
    scores = score(predictions)
    drawn = bootstrap.figures(lambda weights: figures(predictions, weights))
    counted = class_counts(predictions, bootstrap)
    blocks = block_section(predictions, sources, bootstrap)
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
        "calibration": calibration_document(predictions, bootstrap),
        "selective": selective_document(predictions, bootstrap, target_accuracy, validation),
        # What `predict_and_evaluate` adds, where there is more than one answer to compare.
        **dict.fromkeys(("tta", "ensemble", "prior")),
        "warnings": [
            *predictions.remarks,
            *scores.warnings,
            *malignant_warnings(of_malignant, predictions.classes),
            *block_warnings(blocks, scores.summary),
        ],
    }
    return scores, document
