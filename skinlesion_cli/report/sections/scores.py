"""Scores: of every split, of each class, as a confusion matrix, and beside the published ones."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from skinlesion_cli.common.paper import PUBLISHED_CAVEAT, PUBLISHED_SCORES, PUBLISHED_TEST_IMAGES
from skinlesion_cli.report import content
from skinlesion_cli.report.facts import Document, RunFacts
from skinlesion_cli.report.figures import LABELS, count_of, figure, interval_of, method, number, split_title

CLASS_SCORES = {
    "precision": content.Column("Precision"),
    "recall": content.Column("Recall"),
    "f1": content.Column("F1"),
    "auc": content.Column("AUC"),
    "average_precision": content.Column("Average precision", short="AP"),
    "sensitivity_at_90_specificity": content.Column("Sensitivity at 90% specificity", short="Sens@90"),
    "sensitivity_at_95_specificity": content.Column("Sensitivity at 95% specificity", short="Sens@95"),
    "partial_auc": content.Column("Partial AUC", short="pAUC"),
}
RANKING = {name: column for name, column in CLASS_SCORES.items() if name not in ("precision", "recall", "f1")}
FEW_IMAGES = 30


def summary_table(documents: Mapping[str, Document]) -> content.Table:
    """A row per score, a column per split."""
    sizes = {name: f"(n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{one['n']})" for name, one in documents.items()}
    heads = ("Score", *(f"{split_title(name)} {size}" for name, size in sizes.items()))
    return content.table("Scores of every split", heads, content.score_rows(LABELS, documents.values()))


def scores(facts: RunFacts, documents: Mapping[str, Document]) -> content.Section:
    """The summary scores of the splits, in the order of `documents`, and their warnings."""
    titles = {split_title(name).capitalize(): one for name, one in documents.items()}
    warnings = tuple(f"{title}: {text}" for title, one in titles.items() for text in one["warnings"])
    return content.section(
        "scores",
        "Scores",
        summary_table(documents),
        content.Paragraph(f"In brackets: 95% intervals ({method(facts.document)}).", "note"),
        content.Items(warnings, "note") if warnings else None,
    )


def class_scores(per_class: Mapping[str, Mapping[str, Any]]) -> content.Table:
    """A row per class, each class versus the rest."""
    rows = (
        (
            name,
            int(one["support"]),
            content.Number(one["f1"], interval_of(one, "f1"), strip=True, n=count_of(one, "f1")),
            *(content.score(one, key) for key in CLASS_SCORES),
        )
        for name, one in per_class.items()
    )
    strip = content.Column("F1, 0 to 1", numeric=False)
    heads = [content.Column("Class", numeric=False), content.Column("Images"), strip, *CLASS_SCORES.values()]
    return content.table("Scores of each class", heads, rows, sortable=True)


def classes(facts: RunFacts) -> content.Section:
    """The scores of each class in two tables that fit a page, with a warning about small classes."""
    per_class = facts.document["per_class"]
    fewest = min(one["support"] for one in per_class.values())
    text = f"{split_title(facts.split).capitalize()} split, each class versus the rest."
    if 0 < fewest < FEW_IMAGES:
        images = "1 image" if fewest == 1 else f"{fewest} images"
        text += (
            f" The smallest class has {images}: one image changes its recall by "
            f"{100 / fewest:.0f} percentage points."
        )
    table, ranking = class_scores(per_class), [column.name for column in RANKING.values()]
    decided = [column.name for column in table.columns[1:] if column.name not in ranking]
    return content.section(
        "classes",
        "Classes",
        content.Paragraph(text),
        table.only(*decided),
        content.Paragraph("How well the probability of each class ranks its images above the others:"),
        dataclasses.replace(table.only("Images", *ranking), name="Ranking of each class"),
    )


def confusion(documents: Mapping[str, Document]) -> content.Section:
    """The confusion matrix of the first split; those of the others are folded away."""
    text = (
        "Rows are true classes, columns are predicted classes. Each cell shows the number of images and the "
        "percentage of the true class, which also sets its shade. The framed diagonal is correct; n is the "
        "number of images of the true class. An empty cell stands for 0."
    )
    matrices = (
        content.Matrix(name, one["classes"], one["confusion_matrix"], folded=place > 0)
        for place, (name, one) in enumerate(documents.items())
    )
    return content.section("confusion", "Confusion matrix", content.Paragraph(text), *matrices)


def published(facts: RunFacts) -> content.Section:
    """The paper's scores beside this run's, and why they are not comparable."""
    rows = (
        (LABELS[name], *(content.Number(one, text=figure(one)) for one in (value, facts.document[name])))
        for name, value in PUBLISHED_SCORES.items()
    )
    text = (
        f"Regmi and Xu (2025) on their test split of {number(PUBLISHED_TEST_IMAGES)} images, and this run on "
        f"its {split_title(facts.split)} split of {number(facts.document['n'])}: different images, split "
        "differently."
    )
    return content.section(
        "published",
        "Comparison with the published scores",
        content.Paragraph(text),
        content.table("Published scores and this run's", ("Score", "Published", "This run"), rows),
        content.Paragraph(PUBLISHED_CAVEAT),
    )
