"""The two streams: results on stdout, everything else on stderr."""

import json
import os
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from skinlesion_cli.common.text import printable, shortened

if TYPE_CHECKING:
    from rich.table import Table

DISCLAIMER = "a research tool, not a medical device: do not diagnose with it"
MOST = 4000
"""Characters of a message: names in it may have any length."""
# A table in a log file need not fit a terminal; 80 columns would truncate class names.
LOG_WIDTH = 120


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else LOG_WIDTH
    # No markup: a file may be named [red].jpg.
    return Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=False)


out = _console(stderr=False)
err = _console(stderr=True)


def hush() -> None:
    """Print nothing more except the line of `fail`: another process of the same run reports progress."""
    out.quiet = err.quiet = True


def say(text: str) -> None:
    """Print one line of results."""
    out.print(printable(text), soft_wrap=True)


def note(text: str) -> None:
    """Print one line of information."""
    err.print(Text(_line(text), style="dim"), soft_wrap=True)


def warn(text: str) -> None:
    """Print a one-line warning."""
    err.print(Text.assemble(("warning: ", "yellow"), _line(text)), soft_wrap=True)


def fail(text: str) -> None:
    """Print the line that says why the command stops."""
    err.quiet = False
    err.print(Text.assemble(("error: ", "bold red"), _line(text)), soft_wrap=True)


def _line(text: str) -> str:
    shown = printable(text)
    # The end says what is wrong, after the name.
    return shown if len(shown) <= MOST else shortened(shown, MOST // 2) + shown[-MOST // 2 :]


def table(columns: Iterable[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> "Table":
    """A table without lines; only the columns at the positions `left` are aligned to the left."""
    from rich.table import Table

    made = Table(box=None, header_style="bold", pad_edge=False)
    for place, name in enumerate(columns):
        made.add_column(Text(printable(name)), justify="left" if place in left else "right")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def print_json(document: Any) -> None:
    """Print the one JSON document of a `--json` command."""
    sys.stdout.write(_json(document) + "\n")
    sys.stdout.flush()


class JsonList:
    """The JSON document of a `--json` command that is a long list, printed item by item."""

    def __init__(self) -> None:
        self._lead = "[\n"

    def add(self, item: Any) -> None:
        """Print one item."""
        sys.stdout.write(self._lead + textwrap.indent(_json(item), "  "))
        self._lead = ",\n"

    def end(self) -> None:
        """Close the list."""
        sys.stdout.write("[]\n" if self._lead == "[\n" else "\n]\n")
        sys.stdout.flush()


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False)
