"""Files that are written whole or not at all."""

import csv
import itertools
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.limits import MAX_LINE, MAX_TABLE_BYTES, MAX_TABLE_CELLS, MAX_TEXT_BYTES, size_text


@contextmanager
def written_whole(path: Path, *, earlier: Path | None = None) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it replaces `path`, on failure it is removed.

    The bytes are forced to disk before the replacement, so a crash or a power cut leaves either the earlier
    file or the new one.

    Args:
        path: the file.
        earlier: where the earlier file goes; without it, it is gone. For a moment nothing lies at `path`, and
            what lies at `earlier` stands for it.

    Raises:
        SkinLesionError: the file cannot be written (no space, no permission).
    """
    # The name keeps its suffix: writers such as matplotlib choose the format from it.
    part = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        if earlier is not None and path.exists():
            path.replace(earlier)
        part.replace(path)
    except OSError as error:
        raise SkinLesionError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def partial_of(path: Path) -> Path | None:
    """The file that `path` was to become, when its name is one that `written_whole` gives; else None.

    A process that is killed while it writes leaves such a file.
    """
    parts = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}", path.stem)
    return path.with_name(parts[1] + path.suffix) if parts else None


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


NO_FILE = "no such file"


def fault_of(path: Path, most: int) -> str:
    """Why `path` is no regular file of at most `most` bytes; an empty text where it is one.

    Asked before a file is opened: opening a pipe waits for whoever writes to it.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return NO_FILE
    # A name too long, a circle of links, no permission; a NUL in the name is a ValueError.
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if stat.S_ISDIR(status.st_mode):
        return "it is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_size > most:
        return f"it is larger than {size_text(most)}"
    return ""


def refuse_faulty(path: Path, fault: str, hint: str = "") -> None:
    """Refuse a file that something speaks against.

    Args:
        path: the file.
        fault: what `fault_of`, or a check that begins with it, found; an empty text for nothing.
        hint: what to do where there is no such file, to be added to the message.

    Raises:
        InputError: there is a fault.
    """
    if fault == NO_FILE:
        raise InputError(f"there is no file {path}{hint}")
    if fault:
        raise InputError(f"refused to load {path}: {fault}")


_NO_UTF8 = "it is no UTF-8 text; save it as UTF-8"


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False, too, for what can be no name."""
    try:
        return path.is_dir()
    # Too long, or in a folder that is closed to us.
    except OSError:
        return False


def leaves_folder(file: str) -> bool:
    """Whether a file's name from a table would reach out of the folder that it is relative to."""
    return Path(file).is_absolute() or ".." in Path(file).parts


def read_text(path: Path, what: str = "", most: int = MAX_TEXT_BYTES) -> str:
    """Read a text file: UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        what: what it is, for the error: "the config file ", say.
        most: bytes.

    Raises:
        InputError: it cannot be read, is too large, or is no such text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise InputError(f"cannot read {what}{path}: it is larger than {size_text(most)}")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"cannot read {what}{path}: {_NO_UTF8}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {what}{path}: {reason}") from None


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
        raise InputError(f"cannot read {what}{path}: {_NO_UTF8}") from None
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


def user_cache_folder() -> Path:
    """Where this tool may keep what can be made again: `$XDG_CACHE_HOME/skinlesion`, or below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skinlesion"


def ensure_writable_folder(folder: Path) -> Path:
    """Create `folder` where it is missing and prove that a file can be written there.

    Raises:
        InputError: it cannot be created, is not a folder, or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".skinlesion-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write to {folder}: {reason}; name another place") from error
    return folder


def ensure_writable_file(path: Path) -> Path:
    """Prove that `path` can be written: its folder exists (or can be created) and it is no folder itself.

    Raises:
        InputError: it cannot be written.
    """
    if path.is_dir():
        raise InputError(f"cannot write to {path}: it is a folder; name a file")
    ensure_writable_folder(path.parent)
    return path
