"""A study's files: study.json, study.csv, the forest plot, and a page of all of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skinlesion_cli.common.csv_files import write_csv
from skinlesion_cli.common.files import write_text
from skinlesion_cli.report.content import (
    Cell,
    Chart,
    Charts,
    Number,
    Paragraph,
    Section,
    Table,
    section,
    table,
)
from skinlesion_cli.report.figures import LABELS, figure
from skinlesion_cli.report.results import write_json
from skinlesion_cli.report.templates import render_html

Document = Mapping[str, Any]


def write_study(folder: Path, document: Document, rows: list[dict[str, Any]]) -> list[Path]:
    """Write all files; returns their paths. Without a second method there is no forest plot."""
    paths = [folder / name for name in ("study.json", "study.csv", "study.html")]
    write_json(paths[0], document)
    write_csv(paths[1], list(rows[0]), [list(row.values()) for row in rows])
    write_text(paths[2], _page(document))
    if document["differences"]:
        from skinlesion_cli.report.drawing import save_figure
        from skinlesion_cli.report.forest import of_study

        paths.append(folder / "forest.png")
        save_figure(of_study(document), paths[-1])
    return paths


def sections(document: Document) -> list[Section]:
    """The results of the study, for the page and the terminal."""
    methods, differences = document["methods"], document["differences"]
    scores = section(
        "scores",
        "Scores",
        _table("Score", methods, lambda one: Number(one["value"], one["ci95"])),
        Paragraph("Mean ± standard deviation over the runs:"),
        _table("Runs", methods, lambda one: f"{figure(one['mean'], 3)} ± {figure(one['sd'], 3)}"),
    )
    if not differences:
        return [scores]
    # Late: the terminal shows no figures.
    from skinlesion_cli.report.forest import plot_study

    return [
        scores,
        section(
            "differences",
            f"Differences from {document['baseline']}",
            Charts([Chart("Forest plot of the differences", lambda axes: plot_study(axes, document))]),
            _table(
                "Difference", differences, lambda one: Number(one["difference"], one["ci95"], _signed(one))
            ),
        ),
    ]


def _table(name: str, methods: Mapping[str, Document], cell: Callable[[Document], Cell]) -> Table:
    """A row per score and a column per method."""
    rows = [(label, *(cell(one[metric]) for one in methods.values())) for metric, label in LABELS.items()]
    return table(name, (name, *methods), rows)


def describe(document: Document) -> str:
    """What was compared, in one line."""
    runs, images, what = len(document["runs"]), document["n"], document["design"]
    pooled = "pooled held-out images" if what == "folds" else "images per run"
    return f"{len(document['methods'])} methods, {runs} {what}, {images} {pooled}; {document['ci95_method']}"


def _signed(one: Document) -> str:
    return "–" if one["difference"] is None else f"{one['difference']:+.3f}"


def _page(document: Document) -> str:
    notes = Paragraph(
        "All methods were trained on the same images and scored on the same held-out images. An interval "
        "that excludes 0 shows a difference that another sample of lesions or patients would most likely "
        "confirm. It does not include the variation between seeds, which is the spread over the runs."
    )
    found = [*sections(document), section("reading", "How to read it", notes)]
    return render_html("study.html", "Study", summary=describe(document), sections=found)
