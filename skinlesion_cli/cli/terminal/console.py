"""The two streams: results on stdout, everything else on stderr."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from skinlesion_cli.cli.terminal.layout import Paragraph, Table
from skinlesion_cli.common.text import REPLACE, printable, shortened

DISCLAIMER = "a research tool, not a medical device: do not diagnose with it"
MOST = 4000
"""Characters of a message: names in it may have any length."""
# A table in a log file need not fit a terminal; 80 columns would truncate class names.
LOG_WIDTH = 120
NARROWEST = 40
"""Minimum width: a name and a number with its interval need as much."""


def _make_usable() -> None:
    """Open closed streams on the null device, and let no character of ours stop a stream of any encoding."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Otherwise the next file that is opened would get its file descriptor, and what libraries print.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "w" if number else "r"))
        elif number and hasattr(stream := getattr(sys, name), "reconfigure"):
            stream.reconfigure(errors=REPLACE)
    if not os.environ.get("COLUMNS", "1").strip("0"):
        # Some programs set COLUMNS to 0 if there is no terminal.
        del os.environ["COLUMNS"]


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None
    if not (stream.isatty() or "COLUMNS" in os.environ):
        width = LOG_WIDTH
    elif shutil.get_terminal_size().columns < NARROWEST:
        width = NARROWEST
    # No markup: a file may be named [red].jpg.
    return Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=False)


_make_usable()
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
    # The end of the text is kept: it says what is wrong, after the name.
    return shown if len(shown) <= MOST else shortened(shown, MOST // 2) + shown[-MOST // 2 :]


def table(columns: Iterable[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> Table:
    """A table without lines; the columns at the positions `left` hold names, all others numbers."""
    return Table([*columns], [*rows], left)


def paragraph(text: str) -> None:
    """Print lines of results that may be long; no number is torn from its interval."""
    out.print(Paragraph(text))


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
