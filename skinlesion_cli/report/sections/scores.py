"""Scores: of every split, of each class, as a confusion matrix, and beside the published ones."""

from collections.abc import Mapping
from typing import Any

from skinlesion_cli.common.paper import PUBLISHED_CAVEAT, PUBLISHED_SCORES, PUBLISHED_TEST_IMAGES
from skinlesion_cli.report.content import (
    Column,
    Items,
    Matrix,
    Number,
    Paragraph,
    Section,
    Table,
    score,
    section,
    table,
)
from skinlesion_cli.report.facts import Document, RunFacts
from skinlesion_cli.report.figures import LABELS, figure, interval_of, number, split_title

CLASS_SCORES = {
    "precision": Column("Precision"),
    "recall": Column("Recall"),
    "f1": Column("F1"),
    "auc": Column("AUC"),
    "average_precision": Column("Average precision", short="AP"),
    "sensitivity_at_90_specificity": Column("Sensitivity at 90 % specificity", short="Sens@90"),
    "sensitivity_at_95_specificity": Column("Sensitivity at 95 % specificity", short="Sens@95"),
    "partial_auc": Column("Partial AUC", short="pAUC"),
}
FEW_IMAGES = 30


def summary_table(documents: Mapping[str, Document]) -> Table:
    """A row per score, a column per split."""
    sizes = {name: f"(n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{one['n']})" for name, one in documents.items()}
    heads = ("Score", *(f"{split_title(name)} {size}" for name, size in sizes.items()))
    rows = ((label, *(score(one, name) for one in documents.values())) for name, label in LABELS.items())
    return table("Scores of every split", heads, rows)


def scores(facts: RunFacts, documents: Mapping[str, Document]) -> Section:
    """The summary scores of the splits, in the order of `documents`, and their warnings."""
    warnings = tuple(
        f"{split_title(name).capitalize()}: {text}"
        for name, one in documents.items()
        for text in one["warnings"]
    )
    return section(
        "scores",
        "Scores",
        summary_table(documents),
        Paragraph(f"In brackets: 95 % intervals ({facts.document['ci95_method']}).", "note"),
        Items(warnings, "note") if warnings else None,
    )


def class_scores(per_class: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row per class, each class against the rest."""
    rows = (
        (
            name,
            int(one["support"]),
            Number(one["f1"], interval_of(one, "f1"), strip=True),
            *(score(one, key) for key in CLASS_SCORES),
        )
        for name, one in per_class.items()
    )
    strip = Column("F1, 0 to 1", numeric=False)
    heads = [Column("Class", numeric=False), Column("Images"), strip, *CLASS_SCORES.values()]
    return table("Scores of each class", heads, rows, sortable=True)


def classes(facts: RunFacts) -> Section:
    """The scores of each class, with a warning about small ones."""
    per_class = facts.document["per_class"]
    fewest = min(one["support"] for one in per_class.values())
    text = f"{split_title(facts.split).capitalize()} split, each class against the rest."
    if 0 < fewest < FEW_IMAGES:
        text += (
            f" The smallest class has {fewest} images: one image changes its recall by "
            f"{100 / fewest:.0f} percentage points."
        )
    return section("classes", "Classes", Paragraph(text), class_scores(per_class))


def confusion(documents: Mapping[str, Document]) -> Section:
    """The confusion matrix of the first split; those of the others are folded away."""
    text = (
        "Rows are true classes, columns are predicted classes. Each cell shows the number of images and the "
        "percentage of the true class, which also sets its shade. The framed diagonal is correct."
    )
    matrices = (
        Matrix(name, one["classes"], one["confusion_matrix"], folded=place > 0)
        for place, (name, one) in enumerate(documents.items())
    )
    return section("confusion", "Confusion matrix", Paragraph(text), *matrices)


def published(facts: RunFacts) -> Section:
    """The paper's scores beside this run's, and why they do not compare."""
    rows = (
        (LABELS[name], *(Number(one, text=figure(one)) for one in (value, facts.document[name])))
        for name, value in PUBLISHED_SCORES.items()
    )
    text = (
        f"Regmi and Xu (2025) on their test split of {number(PUBLISHED_TEST_IMAGES)} images, and this run on "
        f"its {split_title(facts.split)} split of {number(facts.document['n'])}: different images, split "
        "differently."
    )
    return section(
        "published",
        "Comparison with the published scores",
        Paragraph(text),
        table("Published scores and this run's", ("Score", "Published", "This run"), rows),
        Paragraph(PUBLISHED_CAVEAT),
    )
