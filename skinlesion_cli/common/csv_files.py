"""CSV files: read within limits, and written so that no spreadsheet runs a cell as a formula."""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import reading, written_whole
from skinlesion_cli.common.limits import MAX_LINE, MAX_TABLE_BYTES, MAX_TABLE_CELLS, size_text


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file (UTF-8, commas, line feeds), atomically.

    Strings are written as `protected` returns them, and read back by `csv_rows`; numbers stay numbers.
    """
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        for row in itertools.chain([header], rows):
            file.write(",".join(map(_cell, row)) + "\n")


def _cell(value: object) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = protected(value)
    # Python's own writer does not quote a lone carriage return, at which every reader ends the row.
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


# In some locales spreadsheets separate cells by a semicolon or a tab.
_QUOTED = re.compile(r"""[,;"\s]""")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# The lookbehind lets a match start only at the first of many backslashes; without it the time is quadratic.
_ESCAPED = re.compile(r"(?<!\\)(\\*)(?:([\ud800-\udfff])|(?<=\\)u(d[89a-f][0-9a-f]{2}))")
_ESCAPES = re.compile(r"(?<!\\)(\\+)u(d[89a-f][0-9a-f]{2})")


def protected(text: str) -> str:
    r"""The text as a cell that no spreadsheet runs as a formula, and that can be written as UTF-8.

    Text that begins like a formula (= + - @, and their full-width forms), or begins or ends with white space,
    gets a leading apostrophe, and so does text that already looks like that. A byte of a file name that is
    not valid UTF-8, which Python keeps as a surrogate, becomes `\udcff`, as in JSON. `unprotected` undoes
    both.
    """
    if "\\" in text or not text.isascii():
        text = _ESCAPED.sub(_escape, text)
    return "'" + text if _is_risky(text) else text


def unprotected(cell: str) -> str:
    """The text that `protected` made the cell from; for any other cell, its text stripped of white space."""
    text = cell[1:] if cell.startswith("'") and _is_risky(cell) else cell.strip()
    return _ESCAPES.sub(_unescape, text) if "\\" in text else text


def _is_risky(text: str) -> bool:
    inner = text.lstrip("'")
    return inner.startswith(_FORMULA) or inner != inner.strip()


def _escape(match: re.Match[str]) -> str:
    # Backslashes before an escape are doubled, so that text that looks like an escape is not mistaken for
    # one.
    slashes, surrogate, digits = match.groups()
    return slashes * 2 + (f"\\u{ord(surrogate):04x}" if surrogate else f"u{digits}")


def _unescape(match: re.Match[str]) -> str:
    slashes, digits = match.groups()
    half = slashes[: len(slashes) // 2]
    return half + (chr(int(digits, 16)) if len(slashes) % 2 else f"u{digits}")


def csv_rows(path: Path, what: str = "") -> Iterator[tuple[int, list[str]]]:
    """Yield each non-empty row of a CSV file with its line number; cells as `unprotected` returns them.

    InputError (see `reading`) if it is not UTF-8 or not CSV, a quote is never closed, or it is too large.
    """
    with reading(path, what), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(_lines(file), strict=True)
        cells = 0
        for row in reader:
            cells += max(1, len(row))
            if cells > MAX_TABLE_CELLS:
                raise csv.Error(f"it has more than {MAX_TABLE_CELLS:,} cells")
            if row:
                yield reader.line_num, [unprotected(cell) for cell in row]


def _lines(file: TextIO) -> Iterator[str]:
    number, size = 0, 0
    while line := file.readline(MAX_LINE + 1):
        number, size = number + 1, size + len(line)
        if len(line) > MAX_LINE:
            raise csv.Error(f"line {number} is longer than {MAX_LINE:,} characters")
        if size > MAX_TABLE_BYTES:
            raise csv.Error(f"it is larger than {size_text(MAX_TABLE_BYTES)}")
        if "\0" in line:
            raise csv.Error(f"line {number} contains a NUL character")
        yield line


def read_table(path: Path, what: str = "") -> tuple[list[str], list[dict[str, str]]]:
    """Read a CSV file with a header: its columns, and a dict per row in which missing cells are empty."""
    columns, rows = read_numbered(path, what)
    return columns, [row for _, row in rows]


def read_numbered(path: Path, what: str = "") -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """As `read_table`, with the line of each row."""
    lines = csv_rows(path, what)
    _, columns = next(lines, (0, []))
    require_distinct(path, columns)
    rows = []
    for line, cells in lines:
        if any(cells[len(columns) :]):
            raise InputError(f"{path}, line {line}: {len(cells)} cells where the header has {len(columns)}")
        rows.append((line, dict.fromkeys(columns, "") | dict(zip(columns, cells, strict=False))))
    return columns, rows


def require_distinct(path: Path, columns: Sequence[str]) -> None:
    """Refuse a table in which two columns have the same name."""
    for name, number in Counter(filter(None, columns)).items():
        if number > 1:
            raise InputError(f"{path} has more than one column {name}")
