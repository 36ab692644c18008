"""Files that are written whole or not at all."""

import csv
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skinlesion_cli.core.errors import InputError, SkinLesionError


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


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file (comma, line feed), whole or not at all."""
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_table(path: Path, what: str = "") -> tuple[list[str], list[dict[str, str]]]:
    """Read a CSV file with a header: its columns, and a dict for each row; a missing cell is an empty text.

    Args:
        path: the file.
        what: what it holds, for the error: "the groups in ", say.

    Raises:
        InputError: it cannot be read as text or as CSV.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {what}{path}: {error}") from None
    return columns, rows


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
