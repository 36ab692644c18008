"""Scores as rich tables."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from skinlesion_cli.common.text import printable
from skinlesion_cli.metrics.classification import Scores
from skinlesion_cli.report.figures import CALIBRATION, LABELS, OPERATING_POINTS, figure


def class_table(scores: Scores) -> Table:
    """A row a class: the figures of the class against the rest, and its images."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Class")
    for title in ("Precision", "Recall", "F1", "AUC", "AP", "Sens@95", "Images"):
        table.add_column(title, justify="right")
    for name, one in scores.per_class.items():
        ranking = (one.auc, one.average_precision, one.sensitivity_at_95_specificity)
        cells = [figure(value) for value in (one.precision, one.recall, one.f1, *ranking)]
        table.add_row(Text(printable(name)), *cells, str(one.support))
    return table


def summary_table(documents: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a figure and a column a split, each figure with its 95 % interval."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for split, document in documents.items():
        table.add_column(f"{printable(split)} (n = {document['n']})", justify="right")
    for name, label in LABELS.items():
        table.add_row(label, *(_with_interval(document, name) for document in documents.values()))
    return table


def malignant_table(section: Mapping[str, Any]) -> Group:
    """Malignant against benign: how well the score ranks, and a row an operating point."""
    names = printable(", ".join(section["classes"]))
    ranking = {"AUC": "auc", "AP": "average_precision", "partial AUC": "partial_auc"}
    figures = "   ".join(f"{label} {_with_interval(section, name)}" for label, name in ranking.items())
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Called malignant")
    for title in ("Threshold", "Sensitivity", "Specificity", "PPV", "NPV"):
        table.add_column(title, justify="right")
    for point in section["operating_points"]:
        rates = [_with_interval(point, name) for name in ("sensitivity", "specificity")]
        table.add_row(
            OPERATING_POINTS[point["name"]],
            figure(point["threshold"]),
            *rates,
            figure(point["ppv"]),
            figure(point["npv"]),
        )
    n = section["n_malignant"] + section["n_benign"]
    return Group(Text(f"Malignant: {section['n_malignant']} of {n} ({names})"), Text(figures), table)


def block_table(blocks: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a source, with the figures within it."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Within the source")
    table.add_column("Images", justify="right")
    names = ("balanced_accuracy", "weighted_f1", "weighted_auc")
    for name in names:
        table.add_column(LABELS[name], justify="right")
    for source, block in blocks.items():
        table.add_row(
            Text(printable(source)), str(block["n"]), *(_with_interval(block, name) for name in names)
        )
    return table


def calibration_table(section: Mapping[str, Any]) -> Table:
    """A row a figure; with a temperature, before and after it."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Calibration")
    stages = [("before", "as computed")] + ([("after", "calibrated")] if section["after"] else [])
    for stage, title in stages:
        label = f"{title} (T = {section['temperature']:.2f})" if stage == "after" else title
        table.add_column(label, justify="right")
    for name, label in CALIBRATION.items():
        table.add_row(label, *(_with_interval(section[stage], name) for stage, _ in stages))
    return table


def selective_text(section: Mapping[str, Any]) -> Text:
    """The area under the risk–coverage curve, and what a threshold on the confidence does."""
    lines = [f"Area under the risk–coverage curve: {_with_interval(section, 'aurc')}"]
    if target := section["target"]:
        goal = f"To be right in {target['accuracy']:.0%} of the answers"
        if target["threshold"] is None:
            lines.append(f"{goal}: no confidence threshold does that on validation")
        else:
            lines.append(
                f"{goal}: answer from confidence {target['threshold']:.4f} on (found on validation, which "
                f"it answers by {target['validation_coverage']:.1%})"
            )
            lines.append(
                f"Here that answers {_with_interval(target, 'coverage')} of the images, "
                f"with accuracy {_with_interval(target, 'accuracy_reached')}"
            )
    return Text("\n".join(lines))


def flips_table(section: Mapping[str, Any]) -> Table:
    """A row a figure: without flips, with them, and the paired difference."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(f"Mean over {section['views']} flipped views")
    for title in ("without", "with", "difference"):
        table.add_column(title, justify="right")
    for name, label in LABELS.items():
        one = section["differences"][name]
        paired = {"difference": one["difference"], "ci95": {"difference": one["ci95"]}}
        table.add_row(label, figure(one["a"]), figure(one["b"]), _with_interval(paired, "difference"))
    return table


def _with_interval(document: Mapping[str, Any], name: str) -> str:
    interval = None if document["ci95"] is None else document["ci95"][name]
    if document[name] is None or interval is None:
        return figure(document[name])
    return f"{figure(document[name])}  [{figure(interval[0], 3)}, {figure(interval[1], 3)}]"


SECTIONS: dict[str, Callable[[Mapping[str, Any]], RenderableType]] = {
    "malignant": malignant_table,
    "blocks": block_table,
    "calibration": calibration_table,
    "selective": selective_text,
    "tta": flips_table,
}
"""What is printed of each section of an evaluation's document, in this order."""
