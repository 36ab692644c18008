"""The summary of every split, and the published figures beside it."""

from skinlesion_cli.common.paper import PUBLISHED_CAVEAT, PUBLISHED_SCORES, PUBLISHED_TEST_IMAGES
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import LABELS, figure, number, split_title
from skinlesion_cli.report.markup import tag
from skinlesion_cli.report.sections.section import Section, section
from skinlesion_cli.report.tables import Cell, Column, score_cell, table


def scores(facts: RunFacts) -> Section:
    """A row a figure, a column a split."""
    # The split that counts comes first: on a phone the others are a scroll away.
    splits = {facts.split: facts.document} | facts.documents
    columns = [Column("Figure", number=False)]
    columns += [
        Column(f"{split_title(name).capitalize()} ({number(one['n'])})") for name, one in splits.items()
    ]
    rows = [
        [Cell(label), *(score_cell(document, name) for document in splits.values())]
        for name, label in LABELS.items()
        if any(name in document for document in splits.values())
    ]
    warnings = [
        f"{split_title(name).capitalize()}: {text}"
        for name, one in splits.items()
        for text in one.get("warnings", ())
    ]
    method = facts.document.get("ci95_method")
    return section(
        "scores",
        "Scores",
        table("Scores of every split", columns, rows),
        tag("p", f"In brackets the 95 % interval: {method}.", class_="note") if method else None,
        tag("ul", *(tag("li", text) for text in warnings), class_="note") if warnings else None,
    )


def published(facts: RunFacts) -> Section:
    """The paper's figures beside this run's, and why they do not compare."""
    columns = [Column("Figure", number=False), Column("Published"), Column("This run")]
    rows = [
        [Cell(LABELS[name]), Cell(figure(value)), Cell(figure(facts.document.get(name)))]
        for name, value in PUBLISHED_SCORES.items()
    ]
    split = split_title(facts.split)
    text = (
        f"Regmi and Xu (2025) on their own test split of {number(PUBLISHED_TEST_IMAGES)} images, and this "
        f"run on its {split} split of {number(facts.document['n'])}: other images, and another way to split "
        "them."
    )
    return section(
        "published",
        "Beside the published scores",
        tag("p", text),
        table("Published scores and this run's", columns, rows),
        tag("p", PUBLISHED_CAVEAT),
    )
