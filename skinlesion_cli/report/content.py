"""The content of sections, as plain data. Page, model card and terminal each have a renderer for it."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skinlesion_cli.report.figures import count_of, figure, interval, interval_of
from skinlesion_cli.report.mistakes import Mistake, Pictures

if TYPE_CHECKING:
    from skinlesion_cli.report.plots import Plot


@dataclass(frozen=True)
class Number:
    """A number in a table. None or NaN is undefined."""

    value: float | None
    ends: tuple[float, float] | None = None
    """The lower end of its 95% interval."""
    text: str = ""
    """How it is written; empty for a score, whose digits the renderer chooses."""
    bar: float | None = None
    """Length of a bar below it, in [0, 1]."""
    colour: str = "blue"
    strip: bool = False
    """Whether a page draws the number and its interval on a line from 0 to 1 in place of digits."""
    n: int | None = None
    """How many images or groups an exact interval counts; None for a bootstrap interval."""

    @property
    def key(self) -> float | str:
        """What a page sorts it by; an undefined number is an empty string, and comes last."""
        return "" if self.value is None or math.isnan(self.value) else self.value

    def written(self, digits: int) -> str:
        """The number without its interval; a score with these digits."""
        return self.text or figure(self.value, digits)

    @property
    def brackets(self) -> str:
        """Its interval in brackets; empty if it has none."""
        return "" if self.key == "" else interval(self.ends)

    @property
    def counted(self) -> str:
        """The n of an exact interval; empty for any other."""
        return "" if self.n is None else f"n={self.n}"

    @property
    def bounds(self) -> str:
        """Its interval, and the n of an exact one, in one line."""
        return f"{self.brackets} {self.counted}".strip()


Cell = str | int | Number


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    name: str
    numeric: bool = True
    """Whether it contains numbers, which are right-aligned and sorted in descending order first."""
    short: str = ""
    """Its name on the terminal; empty for the same."""
    intervals: bool = True
    """Whether the terminal, which is narrow, shows its intervals."""


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
        rows = tuple(tuple(row[place] for place in places) for row in self.rows)
        return Table(self.name, columns, rows, self.sortable)


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str
    kind: str = ""
    """`note` for small print, which the terminal leaves out; `verdict` or `leak` for an audit's result."""


@dataclass(frozen=True)
class Items:
    """A list."""

    items: Sequence[str]
    kind: str = ""


@dataclass(frozen=True)
class Pairs:
    """Names and values, one below the other."""

    pairs: Sequence[tuple[str, Cell]]
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """A remark on the value of that name."""


@dataclass(frozen=True)
class Chart:
    """A figure, which is drawn only where it is shown. Titles are unique on a page."""

    title: str
    plot: "Plot"
    name: str = ""
    caption: str = ""
    height: float = 0.0
    """Height in inches of a figure with names inside, which needs no room for an axis; 0 for the usual
    size."""


@dataclass(frozen=True)
class Charts:
    """Figures side by side."""

    charts: Sequence[Chart]
    heading: str = ""
    small: bool = False


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: rows true, columns predicted."""

    split: str
    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    folded: bool = False
    """Whether a page hides it until it is asked for."""


@dataclass(frozen=True)
class Photos:
    """Wrong predictions, with images of those that could be drawn."""

    mistakes: Sequence[Mistake]
    pictures: Mapping[str, Pictures]


Block = Paragraph | Items | Pairs | Table | Charts | Matrix | Photos


@dataclass(frozen=True)
class Section:
    """A section, or the reason why it cannot be shown."""

    key: str
    """Its anchor on the page."""
    title: str
    blocks: tuple[Block, ...] = ()
    missing: str = ""

    def only(self, *columns: str) -> "Section":
        """The section with fewer columns in its tables."""
        blocks = (one.only(*columns) if isinstance(one, Table) else one for one in self.blocks)
        return dataclasses.replace(self, blocks=tuple(blocks))


def section(key: str, title: str, *blocks: Block | None) -> Section:
    """A section of the blocks that are not None."""
    return Section(key, title, tuple(block for block in blocks if block is not None))


def table(
    name: str, columns: Iterable[Column | str], rows: Iterable[Iterable[Any]], *, sortable: bool = False
) -> Table:
    """A table; a column that is only a name is one of texts if it comes first, else one of numbers."""
    heads = [Column(one, place > 0) if isinstance(one, str) else one for place, one in enumerate(columns)]
    return Table(name, tuple(heads), tuple(tuple(row) for row in rows), sortable)


def score_rows(labels: Mapping[str, str], documents: Iterable[Mapping[str, Any]]) -> list[list[Cell]]:
    """A row per label, with the score of each document."""
    found = list(documents)
    return [[label, *(score(one, name) for one in found)] for name, label in labels.items()]


def score(document: Mapping[str, Any], name: str) -> Number:
    """A score of an evaluation document with its 95% interval."""
    return Number(document.get(name), interval_of(document, name), n=count_of(document, name))
