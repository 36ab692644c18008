"""The files that `train` and `evaluate` write to their results folders."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.common.files import write_text
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.class_balance import balance_table
from skinlesion_cli.metrics.classification import Scores
from skinlesion_cli.metrics.predictions import Predictions, write_predictions
from skinlesion_cli.report import plots
from skinlesion_cli.report.drawing import save_figure
from skinlesion_cli.report.figures import split_title


def write_class_weights(folder: Path, counts: dict[str, int], settings: Settings) -> None:
    """Draw class_weights.png for a run's training counts, or .pdf or .svg by the settings."""
    beta, alpha = settings.loss_beta, settings.sampler_alpha
    figure = plots.class_weights(balance_table(counts, beta, alpha), beta=beta, alpha=alpha)
    save_figure(figure, folder / f"class_weights.{settings.figures}")


def write_split(
    folder: Path, split: str, predictions: Predictions, scores: Scores, figures: str = "png"
) -> None:
    """Write SPLIT_predictions.csv; draw training_, validation_ or test_confusion with the given suffix."""
    write_predictions(folder / f"{split}_predictions.csv", predictions)
    title = split_title(split)
    figure = plots.confusion_matrix(scores.confusion, scores.classes, f"{title.capitalize()} split")
    save_figure(figure, folder / f"{title}_confusion.{figures}")


def write_run(
    folder: Path,
    history: list[EpochRecord],
    best_epoch: int,
    documents: Mapping[str, Mapping[str, Any]],
    figures: str = "png",
    *,
    false_alarm_rate: float | None = None,
) -> None:
    """Write metrics.json, with the evaluation document of each split, and draw learning_curves."""
    save_figure(plots.learning_curves(history), folder / f"learning_curves.{figures}")
    run = {"best_epoch": best_epoch, "epochs": len(history), "false_alarm_rate": false_alarm_rate}
    write_json(folder / "metrics.json", {**run, **documents})


def pictures(folder: Path, splits: Iterable[str], figures: str = "png") -> tuple[Path, ...]:
    """The figures that `write_class_weights`, `write_run` and `write_split` draw."""
    names = ["class_weights", "learning_curves", *(f"{split_title(split)}_confusion" for split in splits)]
    return tuple(folder / f"{name}.{figures}" for name in names)


def write_evaluation(
    folder: Path,
    predictions: Predictions,
    scores: Scores,
    document: Mapping[str, Any],
    figures: str = "png",
) -> None:
    """Write metrics.json and predictions.csv; draw confusion_matrix and any reliability, of that suffix."""
    write_predictions(folder / "predictions.csv", predictions)
    title = split_title(str(document["split"] or "predictions"))
    figure = plots.confusion_matrix(scores.confusion, scores.classes, title.capitalize())
    save_figure(figure, folder / f"confusion_matrix.{figures}")
    if document["calibration"]["reliability"]:
        save_figure(plots.reliability(document["calibration"]), folder / f"reliability.{figures}")
    write_json(folder / "metrics.json", document)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document, completely or not at all."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    # Bytes of a folder's name that are not UTF-8: JSON escapes can represent them, the file's encoding
    # cannot.
    write_text(path, re.sub("[\ud800-\udfff]", lambda one: f"\\u{ord(one[0]):04x}", text) + "\n")
