"""The scores of a model on the terminal."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import RenderableType

from skinlesion_cli.cli.terminal import layout
from skinlesion_cli.cli.terminal.section_text import drawn, section_text
from skinlesion_cli.metrics.classification import Scores
from skinlesion_cli.report.sections import calibration, curves, data, scores, subgroups

_CLASS_COLUMNS = ("Precision", "Recall", "F1", "AUC", "Average precision", "Sensitivity at 95% specificity")
_SOURCE_COLUMNS = ("Images", "Balanced accuracy", "Weighted F1", "Weighted AUC")


def class_table(found: Scores) -> layout.Table:
    """A row per class: its scores versus the rest, and its number of images."""
    per_class = {name: dataclasses.asdict(one) for name, one in found.per_class.items()}
    return drawn(scores.class_scores(per_class).only(*_CLASS_COLUMNS, "Images"))


def summary_table(documents: Mapping[str, Mapping[str, Any]]) -> layout.Table:
    """A row per score and a column per split, each score with its 95% interval."""
    return drawn(scores.summary_table(documents))


def subgroup_text(document: Mapping[str, Any], column: str) -> RenderableType:
    """The scores by one column, and the largest gaps."""
    return section_text(subgroups.column_section(document, column))


SECTIONS: dict[str, Callable[[Any], RenderableType]] = {
    "malignant": lambda document: section_text(curves.malignant(document)),
    "blocks": lambda document: section_text(data.sources(document).only(*_SOURCE_COLUMNS)),
    "calibration": lambda document: section_text(calibration.calibration(document)),
    "selective": lambda document: section_text(calibration.selective(document)),
    "tta": lambda document: section_text(calibration.flips(document)),
    "ensemble": lambda document: section_text(calibration.ensemble(document)),
    "prior": lambda document: section_text(calibration.prior(document)),
}
"""What is printed of each section of an evaluation document, in this order."""
