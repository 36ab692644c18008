"""The two streams: results on stdout, everything else on stderr."""

import json
import os
import sys
import textwrap
from typing import Any

from rich.console import Console
from rich.text import Text

# A table in a log file has no terminal to fit; 80 columns would cut the classes' names.
LOG_WIDTH = 120


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else LOG_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, emoji=False)


out = _console(stderr=False)
err = _console(stderr=True)


def hush() -> None:
    """Print no more but the one line of `fail`: another process of the same run speaks."""
    out.quiet = err.quiet = True


def printable(text: str) -> str:
    """Text from outside (file names, class names) with its control characters shown instead of obeyed."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown.encode("utf-8", "backslashreplace").decode()


def note(text: str) -> None:
    """One line that a person should know."""
    err.print(Text(printable(text), style="dim"), soft_wrap=True)


def warn(text: str) -> None:
    """One line about something that may be wrong."""
    err.print(Text.assemble(("warning: ", "yellow"), printable(text)), soft_wrap=True)


def fail(text: str) -> None:
    """The one line that says why the command stops."""
    err.quiet = False
    err.print(Text.assemble(("error: ", "bold red"), printable(text)), soft_wrap=True)


def print_json(document: Any) -> None:
    """The one JSON document of a `--json` command."""
    sys.stdout.write(_json(document) + "\n")
    sys.stdout.flush()


class JsonList:
    """The one JSON document of a `--json` command whose list is too long to be kept: printed as it grows."""

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
