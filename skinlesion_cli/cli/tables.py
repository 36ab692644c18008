"""Sections of a report on the terminal."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import RenderableType, group

from skinlesion_cli.cli import console, layout
from skinlesion_cli.common.text import printable
from skinlesion_cli.metrics.classification import Scores
from skinlesion_cli.report.content import Cell, Items, Number, Pairs, Paragraph, Section, Table
from skinlesion_cli.report.sections import calibration, curves, data, scores, subgroups

_CLASS_COLUMNS = ("Precision", "Recall", "F1", "AUC", "Average precision", "Sensitivity at 95% specificity")
_SOURCE_COLUMNS = ("Images", "Balanced accuracy", "Weighted F1", "Weighted AUC")


def class_table(found: Scores) -> layout.Table:
    """A row per class: its scores versus the rest, and its number of images."""
    per_class = {name: dataclasses.asdict(one) for name, one in found.per_class.items()}
    return _table(scores.class_scores(per_class).only(*_CLASS_COLUMNS, "Images"))


def summary_table(documents: Mapping[str, Mapping[str, Any]]) -> layout.Table:
    """A row per score and a column per split, each score with its 95% interval."""
    return _table(scores.summary_table(documents))


def subgroup_text(document: Mapping[str, Any], column: str) -> RenderableType:
    """The scores by one column, and the largest gaps."""
    return section_text(subgroups.column_section(document, column))


@group()
def section_text(section: Section) -> Iterator[RenderableType]:
    """A section without its notes and figures."""
    for block in section.blocks:
        match block:
            case Paragraph(text, kind) if kind != "note":
                yield layout.Paragraph(_plain(text))
            case Items(items):
                yield layout.Paragraph("\n".join(map(_plain, items)))
            case Pairs(pairs):
                yield layout.Paragraph("   ".join(f"{name} {_cell(value)}" for name, value in pairs))
            case Table():
                yield _table(block)


def _table(table: Table) -> layout.Table:
    names = [_plain(column.short or column.name) for column in table.columns]
    rows = [
        [_cell(cell, intervals=column.intervals) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]
    left = [place for place, column in enumerate(table.columns) if not column.numeric]
    return console.table(names, rows, left)


def _cell(cell: Cell, *, intervals: bool = True) -> str:
    if isinstance(cell, Number):
        return f"{cell.written(4)}  {cell.bounds if intervals else ''}".rstrip()
    return _plain(str(cell))


def _plain(text: str) -> str:
    """Text with ordinary spaces, and control characters shown instead of obeyed."""
    return printable(text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", ","))


SECTIONS: dict[str, Callable[[Any], RenderableType]] = {
    "malignant": lambda document: section_text(curves.malignant(document)),
    "blocks": lambda document: section_text(data.sources(document).only(*_SOURCE_COLUMNS)),
    "calibration": lambda document: section_text(calibration.calibration(document)),
    "selective": lambda document: section_text(calibration.selective(document)),
    "tta": lambda document: section_text(calibration.flips(document)),
    "ensemble": lambda document: section_text(calibration.ensemble(document)),
    "prior": lambda document: section_text(calibration.prior(document)),
}
"""What is printed of each section of an evaluation document, in this order."""
