"""The scores of each class."""

from collections.abc import Mapping
from typing import Any

from skinlesion_cli.report.charts import strip
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import UNDEFINED, figure, interval, interval_of, split_title
from skinlesion_cli.report.markup import Content, tag
from skinlesion_cli.report.sections.section import Section, section
from skinlesion_cli.report.tables import Cell, Column, score_cell, sort_key, table

COLUMNS = {
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "auc": "AUC",
    "average_precision": "Average precision",
    "sensitivity_at_90_specificity": "Sensitivity at 90 % specificity",
    "sensitivity_at_95_specificity": "Sensitivity at 95 % specificity",
    "partial_auc": "Partial AUC",
}


def classes(facts: RunFacts) -> Section:
    """A row a class; figures that the run did not write have no column."""
    per_class = facts.document["per_class"]
    known = [name for name in COLUMNS if any(name in one for one in per_class.values())]
    columns = [
        Column("Class", number=False),
        Column("Images"),
        Column("F1, 0\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}1"),
    ]
    columns += [Column(COLUMNS[name]) for name in known]
    rows = [
        [
            Cell(name),
            Cell(one["support"], one["support"]),
            Cell(_strip(name, one), sort_key(one.get("f1"))),
            *(score_cell(one, figure_name) for figure_name in known),
        ]
        for name, one in per_class.items()
    ]
    few = min((one["support"] for one in per_class.values()), default=0)
    text = (
        f"{split_title(facts.split).capitalize()} split, each class against the rest. Press a head to sort."
    )
    caution = f" The smallest class has {few} images here: a single one moves its recall by {_step(few)}."
    return section(
        "classes",
        "Classes",
        tag("p", text, caution if 0 < few < 30 else ""),
        table("Scores of each class", columns, rows, sortable=True),
    )


def _strip(label: str, one: Mapping[str, Any]) -> Content:
    value, ends = one.get("f1"), interval_of(one, "f1")
    if value is None:
        return UNDEFINED
    return strip(value, ends, f"F1 of {label}: {figure(value, 3)} {interval(ends)}")


def _step(images: int) -> str:
    return f"{100 / images:.0f} points"
