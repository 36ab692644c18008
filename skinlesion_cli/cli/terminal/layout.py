"""Tables and paragraphs for a terminal of any width: no number is truncated, and no interval is broken."""

import re
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.text import Text

from skinlesion_cli.common.text import in_encoding, printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

GAP = 2
NARROW_NAME = 12
"""A name is folded to this width, to that of its longest word, or to a quarter of the terminal."""
_INTERVAL = re.compile(r"(\S+ +)?\[[^\[\]]*\]")
_NBSP = "\N{NO-BREAK SPACE}"


@dataclass
class Table:
    """A table without lines, whose first column names the rows.

    On a narrow terminal, first the bars are dropped, then headers are folded, then names. Columns that still
    do not fit go below, in a separate table that repeats the names.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    left: Collection[int] = (0,)
    """Positions of the columns with names, which are aligned to the left; all others hold numbers."""
    bars: Sequence[Text] = ()
    """One for each row, drawn behind it."""
    header: bool = True
    _cells: list[list[Text]] = field(default_factory=list)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table in the available width."""
        width = options.max_width
        self._cells = [[_text(cell, console.encoding) for cell in row] for row in self.rows]
        natural, least = self._widths(width)
        # If the whole table fits, draw it as without a limit.
        bar = max((one.cell_len for one in self.bars), default=0)
        if sum(natural) + GAP * len(natural) + bar <= width:
            yield self._part(range(len(natural)), natural, self.bars)
            return
        parts, unfolded = _parts(least, width), [natural[0], *least[1:]]
        if natural[0] + GAP + max(least) <= width and len(same := _parts(unfolded, width)) == len(parts):
            parts, least = same, unfolded
        for number, part in enumerate(parts):
            room = width - GAP * (len(part) - 1) - sum(least[place] for place in part)
            widths = list(least)
            # The remaining space goes to the names, those of the rows last, and then to the headers.
            for place in sorted(part, key=lambda place: (place not in self.left, -place)):
                more = min(room, natural[place] - least[place])
                widths[place], room = least[place] + more, room - more
            if number:
                yield Text()
            yield self._part(part, widths)

    def _widths(self, width: int) -> tuple[list[int], list[int]]:
        """The widths of the columns, as they are and as narrow as they can be."""
        natural, least = [], []
        for place, name in enumerate(self.columns):
            heads = [cell_len(word) for word in printable(name).split()] if self.header else []
            cells = max((row[place].cell_len for row in self._cells), default=0)
            natural.append(max(cells, sum(heads) + len(heads) - 1))
            least.append(max(cells, *heads, 0))
        number = max((least[place] for place in range(len(least)) if place not in self.left), default=0)
        most = min(width // (len(self.left) + 1), width - number) - GAP
        for place in self.left:
            words = (cell_len(word) for row in self._cells for word in row[place].plain.split())
            narrow = max(NARROW_NAME, min(most, max(width // 4, *words, 0)))
            least[place] = min(natural[place], narrow)
        return natural, least

    def _part(self, places: Sequence[int], widths: Sequence[int], bars: Sequence[Text] = ()) -> "RichTable":
        # Not needed for --help.
        from rich.table import Table as RichTable

        made = RichTable(box=None, header_style="bold", pad_edge=False, show_header=self.header)
        for place in places:
            justify: JustifyMethod = "left" if place in self.left else "right"
            head = _text(self.columns[place])
            made.add_column(head, justify=justify, width=widths[place], overflow="fold", vertical="bottom")
        if bars:
            made.add_column("", width=max(one.cell_len for one in bars))
        for number, row in enumerate(self._cells):
            made.add_row(*(row[place] for place in places), *bars[number : number + 1])
        return made


def _parts(least: Sequence[int], width: int) -> list[list[int]]:
    """The columns of each part of a table: as few parts as fit, as even as possible."""
    fewest = len(_filled(least, width))
    return next(found for most in range(width + 1) if len(found := _filled(least, most)) == fewest)


def _filled(least: Sequence[int], width: int) -> list[list[int]]:
    """As many columns in each part as fit; the first column is in all of them."""
    parts = [[0]]
    for place in range(1, len(least)):
        if len(parts[-1]) > 1 and sum(least[one] + GAP for one in parts[-1]) + least[place] > width:
            parts.append([0])
        parts[-1].append(place)
    return parts


@dataclass
class Paragraph:
    """Lines of text, wrapped between words; a number and its interval stay together."""

    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Wrap the text in the available width."""
        for line in in_encoding(self.text, console.encoding).split("\n"):
            joined = _INTERVAL.sub(lambda found: found[0].replace(" ", _NBSP), line)
            wrapped = textwrap.fill(joined, options.max_width, break_long_words=False, break_on_hyphens=False)
            yield Text(wrapped.replace(_NBSP, " "))


def _text(cell: str | Text, encoding: str = "utf-8") -> Text:
    if isinstance(cell, Text):
        return Text(in_encoding(cell.plain, encoding), cell.style) if not cell.spans else cell
    return Text(in_encoding(printable(cell), encoding))
