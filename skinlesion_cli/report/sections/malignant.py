"""Malignant against benign: the clinical reading of the same answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from skinlesion_cli.metrics.roc import roc_curve
from skinlesion_cli.report.axes import share_axis
from skinlesion_cli.report.charts import Line, Point, chart
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import OPERATING_POINTS, figure, interval, interval_of, number
from skinlesion_cli.report.markup import Content, Markup, join, tag
from skinlesion_cli.report.sections.classes import COLUMNS as CLASS_FIGURES
from skinlesion_cli.report.sections.section import Section, left_out, section, written_by_older
from skinlesion_cli.report.tables import Cell, Column, facts_list, score_cell, table

TITLE = "Malignant against benign"
RATES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
FIGURES = ("auc", "average_precision", "partial_auc")


def malignant(facts: RunFacts) -> Section:
    """The ROC curve with its operating points, and their rates."""
    if "malignant" not in facts.document:
        return left_out("malignant", TITLE, written_by_older("figures of malignant against benign"))
    document = facts.document["malignant"]
    if not document:
        return left_out("malignant", TITLE, "no class is known to be malignant")
    names = ", ".join(document["classes"])
    text = (
        f"Malignant are {names}: {number(document['n_malignant'])} images; the other "
        f"{number(document['n_benign'])} are benign. The score is the sum of the probabilities of the "
        "malignant classes, so a melanoma that is taken for a carcinoma is no miss."
    )
    figures = [
        (CLASS_FIGURES[name], f"{figure(document.get(name), 3)} {interval(interval_of(document, name))}")
        for name in FIGURES
        if name in document
    ]
    return section(
        "malignant", TITLE, tag("p", text), _curve(facts, document), facts_list(figures), _points(document)
    )


def _curve(facts: RunFacts, document: Mapping[str, Any]) -> Content:
    predictions = facts.predictions
    if predictions is None or predictions.true is None or predictions.probabilities is None:
        return None
    if not (document["n_malignant"] and document["n_benign"]):
        return None
    columns = [predictions.classes.index(name) for name in document["classes"] if name in predictions.classes]
    positive = np.isin(predictions.true, columns)
    rate, sensitivity = roc_curve(positive, predictions.probabilities[:, columns].sum(axis=1))
    drawn = chart(
        "ROC curve of malignant against benign, with its operating points",
        share_axis("False-positive rate"),
        share_axis("Sensitivity"),
        lines_=[Line(rate.tolist(), sensitivity.tolist())],
        points=_marks(document),
        chance=((0.0, 0.0), (1.0, 1.0)),
    )
    return tag(
        "div",
        tag("figure", drawn, tag("figcaption", "The letters are the operating points below.")),
        class_="charts",
    )


def _marks(document: Mapping[str, Any]) -> list[Point]:
    """The operating points on the curve; those that fall together share a mark."""
    letters: dict[tuple[float, float], list[str]] = {}
    for position, one in enumerate(document["operating_points"]):
        if one.get("specificity") is not None and one.get("sensitivity") is not None:
            place = (round(1.0 - one["specificity"], 2), round(one["sensitivity"], 2))
            letters.setdefault(place, []).append(_letter(position))
    return [Point(x, y, " ".join(names)) for (x, y), names in letters.items()]


def _points(document: Mapping[str, Any]) -> Markup:
    columns = [Column("Operating point", number=False), Column("Threshold")]
    columns += [Column(label) for label in RATES.values()]
    rows = [
        [
            Cell(f"{_letter(position)}: {OPERATING_POINTS.get(one['name'], one['name'])}"),
            Cell(figure(one.get("threshold"), 3)),
            *(score_cell(one, rate) for rate in RATES),
        ]
        for position, one in enumerate(document["operating_points"])
    ]
    caution = (
        "PPV and NPV hold for the share of malignant images that this split has, which is not that of any "
        "clinic. Thresholds are chosen on these images themselves, so they flatter a little."
    )
    return join(table("Operating points", columns, rows), tag("p", caution, class_="note"))


def _letter(position: int) -> str:
    return chr(ord("A") + position % 26)
