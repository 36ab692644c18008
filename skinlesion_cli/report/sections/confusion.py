"""The confusion matrices: counts, and each row as shares of its true class."""

from collections.abc import Sequence

from skinlesion_cli.report.facts import Document, RunFacts
from skinlesion_cli.report.figures import split_title, whole_percent
from skinlesion_cli.report.markup import Markup, lines, tag
from skinlesion_cli.report.sections.section import Section, section

STEPS = 10


def confusion(facts: RunFacts) -> Section:
    """The matrix of the split that counts; those of the other splits are folded away."""
    text = (
        "Rows are true classes, columns predicted ones. Each cell holds the number of images and the "
        "percent of its true class, which is its shade as well; the diagonal, framed, is right."
    )
    folded = [
        tag("details", tag("summary", f"{split_title(name).capitalize()} split"), _matrix(name, document))
        for name, document in facts.documents.items()
        if name != facts.split
    ]
    heading = tag("h3", f"{split_title(facts.split).capitalize()} split")
    matrix = _matrix(facts.split, facts.document)
    return section("confusion", "Confusion matrix", tag("p", text), heading, matrix, *folded)


def _matrix(split: str, document: Document) -> Markup:
    classes: Sequence[str] = document["classes"]
    heads = [tag("th", "True \N{RIGHTWARDS ARROW} predicted", scope="col")]
    heads += [tag("th", tag("span", name), scope="col") for name in classes]
    rows = (
        tag("tr", tag("th", name, scope="row"), *_cells(row, position))
        for position, (name, row) in enumerate(zip(classes, document["confusion_matrix"], strict=True))
    )
    drawn = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", lines(rows)))
    label = f"Confusion matrix of the {split_title(split)} split"
    return tag("div", drawn, class_="wide confusion", tabindex=0, role="region", aria_label=label)


def _cells(row: Sequence[int], own: int) -> list[Markup]:
    support = sum(row)
    cells = []
    for column, count in enumerate(row):
        share = count / support if support else 0.0
        kinds = [f"q{min(int(share * STEPS), STEPS - 1)}"] if count else []
        kinds += ["own"] if column == own else []
        inside = (count, tag("small", f"{whole_percent(share)} %")) if count else ()
        cells.append(tag("td", *inside, class_=" ".join(kinds) or None))
    return cells
