"""Tables of a page: they scroll inside their box, and sort where the page's script runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skinlesion_cli.report.figures import UNDEFINED, figure, interval, interval_of
from skinlesion_cli.report.markup import Content, Markup, join, lines, tag


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    name: str
    number: bool = True
    """Whether it holds figures, which stand to the right and sort from the largest down."""


@dataclass(frozen=True)
class Cell:
    """A cell, and what it is sorted by."""

    content: Content
    sort: float | str | None = None
    """None: its text. A value that is undefined is an empty text, and stands last in either order."""


def table(
    name: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, sortable: bool = False
) -> Markup:
    """A table whose first column names its rows.

    Args:
        name: what it shows, for those who hear the page.
        columns: the heads.
        rows: a cell for each column.
        sortable: whether a click on a head sorts it.
    """
    head = tag("tr", *(tag("th", one.name, scope="col", class_=_kind(one)) for one in columns))
    body = lines(_row(row, columns) for row in rows)
    drawn = tag("table", tag("thead", head), tag("tbody", body), class_="sortable" if sortable else None)
    # A box that scrolls can be reached, and scrolled, from the keyboard.
    return tag("div", drawn, class_="wide", tabindex=0, role="region", aria_label=name)


def _row(row: Sequence[Cell], columns: Sequence[Column]) -> Markup:
    cells = []
    for position, (cell, column) in enumerate(zip(row, columns, strict=True)):
        kind = {"class_": _kind(column), "data_sort": cell.sort}
        cells.append(
            tag("td", cell.content, **kind) if position else tag("th", cell.content, scope="row", **kind)
        )
    return tag("tr", *cells)


def _kind(column: Column) -> str | None:
    return "number" if column.number else None


def score_cell(document: Mapping[str, Any], name: str, *, above: Content = None) -> Cell:
    """A figure of a document with its 95 % interval below it.

    Args:
        document: that holds the figure, and its interval under `ci95`.
        name: of the figure.
        above: what stands over the figure: a bar, say.
    """
    value = document.get(name)
    ends = interval(interval_of(document, name))
    below = tag("small", ends) if ends and value is not None else None
    return Cell(join(above, figure(value, 3), below), sort_key(value))


def sort_key(value: float | None) -> float | str:
    """What a figure is sorted by."""
    return "" if value is None or math.isnan(value) else value


def facts_list(facts: Iterable[tuple[str, Content]]) -> Markup:
    """Names and values, one below the other."""
    pairs = (
        tag("div", tag("dt", name), tag("dd", UNDEFINED if value is None else value)) for name, value in facts
    )
    return tag("dl", *pairs, class_="facts")
