"""What a section says, as plain data. A page, a model card and the terminal each have a renderer for it."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skinlesion_cli.report.figures import figure, interval, interval_of
from skinlesion_cli.report.plots import Plot


@dataclass(frozen=True)
class Number:
    """A number in a table."""

    value: float | None
    """None or NaN: undefined."""
    ends: tuple[float, float] | None = None
    """Of its 95 % interval."""
    text: str = ""
    """How it is written; empty for a score, whose digits the renderer chooses."""
    bar: float | None = None
    """Length of a bar below it, in [0, 1]."""
    colour: str = "blue"
    strip: bool = False
    """Whether a page draws the number and its interval on a line from 0 to 1 in place of digits."""

    @property
    def key(self) -> float | str:
        """What a page sorts it by: an undefined number is an empty text, and comes last."""
        return "" if self.value is None or math.isnan(self.value) else self.value

    def written(self, digits: int) -> str:
        """The number without its interval; a score with these digits."""
        return self.text or figure(self.value, digits)

    @property
    def bounds(self) -> str:
        """Its interval in brackets; empty where it has none."""
        return "" if self.key == "" else interval(self.ends)


Cell = str | int | Number
"""A text, a count or a number."""


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    name: str
    numeric: bool = True
    """Whether it holds numbers, which are aligned to the right and sorted from the largest down."""
    short: str = ""
    """Its name on the terminal; empty for the same."""
    intervals: bool = True
    """Whether the terminal, which is narrow, shows its intervals."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str
    kind: str = ""
    """`note` for small print, which the terminal leaves out; `verdict` or `leak` for an audit's result."""


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[str, ...]
    kind: str = ""


@dataclass(frozen=True)
class Pairs:
    """Names and values, one below the other; a value is a text or a number."""

    pairs: tuple[tuple[str, Cell], ...]
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """A remark on the value of that name."""
    code: bool = False
    """Whether the values are those of a program."""


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows."""

    name: str
    """What it shows, for screen readers."""
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = False

    def only(self, *names: str) -> "Table":
        """The table with its first column and the named ones alone."""
        found = [column.name for column in self.columns]
        places = [0, *(found.index(name) for name in names if name in found)]
        columns = tuple(self.columns[place] for place in places)
        return dataclasses.replace(
            self, columns=columns, rows=tuple(tuple(row[place] for place in places) for row in self.rows)
        )


@dataclass(frozen=True)
class Chart:
    """A figure of one set of axes, which is drawn only where it is shown."""

    title: str
    plot: Plot
    name: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Charts:
    """Figures side by side."""

    charts: tuple[Chart, ...]
    heading: str = ""
    small: bool = False


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix."""

    split: str
    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    """Rows true, columns predicted."""
    folded: bool = False
    """Whether a page hides it until it is asked for."""


@dataclass(frozen=True)
class Photo:
    """A misclassified image, with two small pictures of it where they could be made."""

    file: str
    true: str
    predicted: str
    true_probability: str
    confidence: str
    pictures: tuple[str, str] | None
    """The photograph, and the same under the Grad-CAM map, as data URIs."""


@dataclass(frozen=True)
class Photos:
    """Misclassified images."""

    photos: tuple[Photo, ...]


Block = Paragraph | Items | Pairs | Table | Charts | Matrix | Photos


@dataclass(frozen=True)
class Section:
    """A section, or the reason why it is missing."""

    key: str
    """Its anchor on the page."""
    title: str
    blocks: tuple[Block, ...] = ()
    missing: str = ""
    """Why it cannot be shown; empty where it can."""

    @property
    def tables(self) -> list[Table]:
        """Its tables."""
        return [block for block in self.blocks if isinstance(block, Table)]


def section(key: str, title: str, *blocks: Block | None) -> Section:
    """A section of the blocks that are not None."""
    return Section(key, title, tuple(block for block in blocks if block is not None))


def table(
    name: str, columns: Iterable[Column | str], rows: Iterable[Iterable[Any]], *, sortable: bool = False
) -> Table:
    """A table.

    Args:
        name: what it shows.
        columns: its heads; a head that is only a name is one of texts if it comes first, else one of numbers.
        rows: a `Cell` for each column.
        sortable: whether a page lets the reader sort it.
    """
    heads = tuple(
        one if isinstance(one, Column) else Column(one, numeric=place > 0)
        for place, one in enumerate(columns)
    )
    return Table(name, heads, tuple(tuple(row) for row in rows), sortable)


def score(document: Mapping[str, Any], name: str) -> Number:
    """A score of an evaluation document with its 95 % interval."""
    return Number(document.get(name), interval_of(document, name))


def kind_of(block: Block) -> str:
    """The kind of a block, by which a template chooses how to render it."""
    return type(block).__name__
