"""Scores within each source of the images."""

from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import LABELS, number
from skinlesion_cli.report.markup import tag
from skinlesion_cli.report.sections.section import Section, left_out, section, written_by_older
from skinlesion_cli.report.tables import Cell, Column, score_cell, table

TITLE = "Sources of the images"


def sources(facts: RunFacts) -> Section:
    """A row a source."""
    if "blocks" not in facts.document:
        return left_out("sources", TITLE, written_by_older("scores by source"))
    blocks = facts.document["blocks"]
    if not blocks:
        return left_out("sources", TITLE, "no manifest.csv names the source of each image")
    known = [name for name in LABELS if any(name in one for one in blocks.values())]
    columns = [Column("Source", number=False), Column("Images"), Column("Classes")]
    columns += [Column(LABELS[name]) for name in known]
    rows = [
        [
            Cell(source),
            Cell(number(one["n"]), one["n"]),
            Cell(len(one["classes"]) if "classes" in one else None),
            *(score_cell(one, name) for name in known),
        ]
        for source, one in blocks.items()
    ]
    text = (
        "Classes that come from one source alone can be told by the source: its camera, its light, its "
        "framing. Scores over all images then flatter the model; the scores within a source do not. Means "
        "over the classes are over those that have images in the source."
    )
    return section("sources", TITLE, tag("p", text), table("Scores by source", columns, rows, sortable=True))
