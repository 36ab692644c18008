"""A study's files: study.json, study.csv, the forest plot, and a page of all of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
from skinlesion_cli.report.drawing import BLUE, GREY, plain, save_figure
from skinlesion_cli.report.figures import LABELS, figure
from skinlesion_cli.report.results import write_json
from skinlesion_cli.report.templates import render_html

Document = Mapping[str, Any]
FOREST = ("weighted_f1", "macro_f1", "balanced_accuracy", "weighted_auc")
"""The scores of the forest plot: shares, on one axis, and higher is better."""


def write_study(folder: Path, document: Document, rows: list[dict[str, Any]]) -> list[Path]:
    """Write all files; returns their paths. Without a second method there is no forest plot."""
    paths = [folder / name for name in ("study.json", "study.csv", "study.html")]
    write_json(paths[0], document)
    write_csv(paths[1], list(rows[0]), [list(row.values()) for row in rows])
    write_text(paths[2], _page(document))
    if document["differences"]:
        paths.append(folder / "forest.png")
        save_figure(forest(document), paths[-1])
    return paths


def forest(document: Document) -> Figure:
    """The difference of each method from the first, with its interval: one row per method and score."""
    methods = len(document["differences"])
    made = Figure(figsize=(7.5, 1.3 + 0.34 * (methods + 0.6) * len(FOREST)), layout="constrained")
    plot_forest(made.subplots(), document)
    return made


def plot_forest(axes: Axes, document: Document) -> None:
    """Draw `forest` on axes."""
    place = 0.0
    # Names are above their lines, because there is no room beside them on a page.
    above: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "fontsize": 8}
    for metric in FOREST:
        for name, scores in document["differences"].items():
            one = scores[metric]
            if one["difference"] is not None:
                low, high = one["ci95"] or (one["difference"],) * 2
                axes.plot([low, high], [place, place], color=BLUE, linewidth=1.6)
                axes.plot(one["runs"], [place] * len(one["runs"]), "|", color=GREY, markersize=7)
                axes.plot(one["difference"], place, "o", color=BLUE, markersize=6)
            label = f"{LABELS[metric]}, {plain(name)}"
            axes.annotate(label, (0, place), xycoords=axes.get_yaxis_transform(), **above)
            place += 1
        place += 0.6
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks([])
    axes.set_ylim(place - 1, -1)
    axes.set_xlabel(f"Difference from {plain(document['baseline'])}; line: 95% interval, ticks: single runs")
    axes.spines[["top", "right", "left"]].set_visible(False)


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
    return [
        scores,
        section(
            "differences",
            f"Differences from {document['baseline']}",
            Charts([Chart("Forest plot of the differences", lambda axes: plot_forest(axes, document))]),
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
