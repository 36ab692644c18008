"""Scores as rich tables."""

import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from skinlesion_cli.cli.console import printable
from skinlesion_cli.core.metrics import Scores

LABELS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "weighted_f1": "Weighted F1",
    "macro_f1": "Macro F1",
    "weighted_auc": "Weighted AUC",
    "loss": "Loss (cross-entropy)",
}


def figure(value: float | None, digits: int = 4) -> str:
    """A figure, or a dash where it is undefined."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def class_table(scores: Scores) -> Table:
    """A row a class: precision, recall, F1, AUC, support."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Class")
    for name in ("Precision", "Recall", "F1", "AUC", "Images"):
        table.add_column(name, justify="right")
    for name, one in scores.per_class.items():
        cells = [figure(value) for value in (one.precision, one.recall, one.f1, one.auc)]
        table.add_row(Text(printable(name)), *cells, str(one.support))
    return table


def summary_table(documents: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a figure and a column a split, each figure with its 95 % interval."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for split, document in documents.items():
        table.add_column(f"{split} (n = {document['n']})", justify="right")
    for name, label in LABELS.items():
        table.add_row(label, *(_with_interval(document, name) for document in documents.values()))
    return table


def _with_interval(document: Mapping[str, Any], name: str) -> str:
    interval = document["ci95"][name]
    if document[name] is None or interval is None:
        return figure(document[name])
    return f"{figure(document[name])}  [{figure(interval[0], 3)}, {figure(interval[1], 3)}]"
