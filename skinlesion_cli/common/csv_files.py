"""CSV files: read within limits, written so that no spreadsheet runs a cell as a formula."""

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import NO_UTF8, written_whole
from skinlesion_cli.common.limits import MAX_LINE, MAX_TABLE_BYTES, MAX_TABLE_CELLS, size_text


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file (UTF-8, comma, line feed), whole or not at all.

    Texts are written as `protected` has them, and read back by `csv_rows`; numbers stay numbers.
    """
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        for row in itertools.chain([header], rows):
            file.write(",".join(map(_cell, row)) + "\n")


def _cell(value: object) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = protected(value)
    # Python's own writer leaves a lone carriage return bare, at which every reader ends the row.
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


# A semicolon or a tab parts cells where a spreadsheet's language has it so.
_QUOTED = re.compile(r"""[,;"\s]""")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# The look behind begins a match at the first of many backslashes alone: without it, time is quadratic.
_ESCAPED = re.compile(r"(?<!\\)(\\*)(?:([\ud800-\udfff])|(?<=\\)u(d[89a-f][0-9a-f]{2}))")
_ESCAPES = re.compile(r"(?<!\\)(\\+)u(d[89a-f][0-9a-f]{2})")


def protected(text: str) -> str:
    r"""The text as a cell that no spreadsheet runs as a formula, and that UTF-8 can hold.

    A text that begins as a formula does (= + - @, and their full-width forms), or begins or ends with white
    space, gets an apostrophe in front, and so does one that already looks so. A byte of a file name that is
    no UTF-8, which Python keeps as a surrogate, becomes `\udcff`, as in JSON. `unprotected` undoes both.
    """
    if "\\" in text or not text.isascii():
        text = _ESCAPED.sub(_escape, text)
    return "'" + text if _is_risky(text) else text


def unprotected(cell: str) -> str:
    """What `protected` made the cell from; of any other cell, the text without white space around it."""
    text = cell[1:] if cell.startswith("'") and _is_risky(cell) else cell.strip()
    return _ESCAPES.sub(_unescape, text) if "\\" in text else text


def _is_risky(text: str) -> bool:
    inner = text.lstrip("'")
    return inner.startswith(_FORMULA) or inner != inner.strip()


def _escape(match: re.Match[str]) -> str:
    # Backslashes before an escape are doubled, so that a text that looks like an escape is told from one.
    slashes, surrogate, digits = match.groups()
    return slashes * 2 + (f"\\u{ord(surrogate):04x}" if surrogate else f"u{digits}")


def _unescape(match: re.Match[str]) -> str:
    slashes, digits = match.groups()
    half = slashes[: len(slashes) // 2]
    return half + (chr(int(digits, 16)) if len(slashes) % 2 else f"u{digits}")


def csv_rows(path: Path, what: str = "") -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV file with the number of its last line; cells as `unprotected` reads them.

    Empty lines are left out.

    Args:
        path: the file.
        what: what it holds, for the error: "the groups in ", say.

    Raises:
        InputError: it cannot be read as UTF-8 or as CSV, a quote is never closed, or it is too large.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_lines(file), strict=True)
            cells = 0
            for row in reader:
                cells += max(1, len(row))
                if cells > MAX_TABLE_CELLS:
                    raise csv.Error(f"it has more than {MAX_TABLE_CELLS:,} cells")
                if row:
                    yield reader.line_num, [unprotected(cell) for cell in row]
    except UnicodeDecodeError:
        raise InputError(f"cannot read {what}{path}: {NO_UTF8}") from None
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {what}{path}: {reason}") from None


def _lines(file: TextIO) -> Iterator[str]:
    number, size = 0, 0
    while line := file.readline(MAX_LINE + 1):
        number, size = number + 1, size + len(line)
        if len(line) > MAX_LINE:
            raise csv.Error(f"line {number} is longer than {MAX_LINE:,} characters")
        if size > MAX_TABLE_BYTES:
            raise csv.Error(f"it is larger than {size_text(MAX_TABLE_BYTES)}")
        if "\0" in line:
            raise csv.Error(f"line {number} holds a NUL, which no text has")
        yield line


def read_table(path: Path, what: str = "") -> tuple[list[str], list[dict[str, str]]]:
    """Read a CSV file with a header: its columns, and a dict for each row; a missing cell is an empty text.

    Args:
        path: the file.
        what: what it holds, for the error: "the groups in ", say.

    Raises:
        InputError: as `csv_rows`; a column stands twice, or a row has more cells than the header.
    """
    lines = csv_rows(path, what)
    _, columns = next(lines, (0, []))
    require_distinct(path, columns)
    rows = []
    for line, cells in lines:
        if any(cells[len(columns) :]):
            raise InputError(f"{path}, line {line}: {len(cells)} cells where the header has {len(columns)}")
        rows.append(dict.fromkeys(columns, "") | dict(zip(columns, cells, strict=False)))
    return columns, rows


def require_distinct(path: Path, columns: Sequence[str]) -> None:
    """See that no named column stands twice: which of the two is meant, nobody knows.

    Raises:
        InputError: one does.
    """
    seen: set[str] = set()
    for name in filter(None, columns):
        if name in seen:
            raise InputError(f"{path} has more than one column {name}")
        seen.add(name)
