"""Reading text within limits, and writing files atomically."""

import csv
import mmap
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.limits import MAX_TEXT_BYTES, size_text


@contextmanager
def written_whole(path: Path, *, earlier: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The bytes are flushed to disk first: a crash or a power cut leaves either the earlier file or the new one.
    With `earlier`, the replaced file is moved there; for a moment, only that one exists.
    """
    # The suffix is kept: writers such as matplotlib choose the format from it.
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


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Like `written_whole`, for a folder and all its files; an earlier one at `path` is removed at the end.

    A crash between the last two steps leaves the earlier folder beside `path`, under a temporary name.
    """
    part, earlier = (path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}{path.suffix}") for _ in "12")
    try:
        yield part
        for file in filter(Path.is_file, part.rglob("*")):
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        if path.exists():
            path.rename(earlier)
        part.rename(path)
    except OSError as error:
        raise SkinLesionError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if earlier.exists() and not path.exists():
            earlier.rename(path)
        for folder in (part, earlier):
            shutil.rmtree(folder, ignore_errors=True)


def partial_of(path: Path) -> Path | None:
    """The final path of a temporary file that a killed `written_whole` left behind; None for other files."""
    parts = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}", path.stem)
    return path.with_name(parts[1] + path.suffix) if parts else None


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


NO_FILE = "no such file"


def fault_of(path: Path, most: int) -> str:
    """Why `path` is not a regular file of at most `most` bytes, or an empty string if it is one.

    Called before a file is opened, because opening a pipe blocks.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return NO_FILE
    # The name is too long, links form a loop, or there is no permission; a NUL in the name is a ValueError.
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if stat.S_ISDIR(status.st_mode):
        return "it is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_size > most:
        return f"it is larger than {size_text(most)}"
    return ""


def refuse_faulty(path: Path, fault: str, hint: str = "") -> None:
    """Raise an `InputError` for a fault found by `fault_of`; a missing file's message ends with `hint`."""
    if fault == NO_FILE:
        raise InputError(f"there is no file {path}{hint}")
    if fault:
        raise InputError(f"refused to load {path}: {fault}")


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False also for an invalid name."""
    return os.path.isdir(path)  # noqa: PTH112 - `Path.is_dir` raises for a name too long, or no permission


def leaves_folder(file: str) -> bool:
    """Whether a relative file name from a table would lead outside its folder."""
    return Path(file).is_absolute() or ".." in Path(file).parts


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Inside, a failure to read a text file becomes an InputError; `what` is, e.g., "the config file "."""
    try:
        yield
    except UnicodeDecodeError:
        raise InputError(f"cannot read {what}{path}: it is not UTF-8 text; save it as UTF-8") from None
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {what}{path}: {reason}") from None


def read_text(path: Path, what: str = "", most: int = MAX_TEXT_BYTES) -> str:
    """The text of a UTF-8 file of at most `most` bytes, with or without a byte order mark; see `reading`."""
    with reading(path, what), path.open("rb") as file:
        content = file.read(most + 1)
        if len(content) > most:
            raise ValueError(f"it is larger than {size_text(most)}")
        return content.decode("utf-8-sig")


def user_cache_folder() -> Path:
    """`$XDG_CACHE_HOME/skinlesion`, by default in `~/.cache`; InputError for a user without a home folder."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skinlesion"
    except RuntimeError:
        raise InputError("this user has no home folder for a cache: set XDG_CACHE_HOME to a folder") from None


def ensure_writable_folder(folder: Path, *, make: bool = True) -> None:
    """Create `folder` if it is missing; InputError unless files can be written there.

    Without `make`, nothing is created; the nearest existing parent folder is tested instead.
    """
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        probe = nearest / f".skinlesion-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write to {folder}: {reason}; choose another folder") from error


FIGURE_MARK = "skinlesion-cli figure"
"""In the metadata of each figure that this package draws: it is not a photograph, and may be replaced."""
EXPORT_MARK = "skinlesion-export-1"
"""In each exported model."""
FIGURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
"""Suffixes of figures that can be written."""
_MARKS = dict.fromkeys(FIGURES, FIGURE_MARK) | dict.fromkeys(
    (".onnx", ".pt2", ".pte", ".mlmodel"), EXPORT_MARK
)
CORE_ML, CORE_ML_MODEL = ".mlpackage", "Data/com.apple.CoreML/model.mlmodel"
"""A model that is a folder, and the file in it with the metadata."""
_HEAD = 4096


def ensure_writable_file(path: Path, *suffixes: str, inputs: Iterable[Path] = (), option: str) -> None:
    """InputError unless `path` can be written without losing anything: the one check for all outputs.

    Its name must end in one of `suffixes`, and its folder exist or be creatable. An existing file must not be
    one of the `inputs`, and must be of a kind that this package writes: its own figure or model, or text.
    """
    if suffixes and not path.is_dir() and path.suffix.lower() not in suffixes:
        raise InputError(f"{option} {path}: the file must be a {' or a '.join(suffixes)}")
    require_replaceable([path], inputs, option)
    ensure_writable_folder(path.parent)


def require_replaceable(paths: Iterable[Path], inputs: Iterable[Path], option: str) -> None:
    """InputError if writing one of `paths` would lose something; see `ensure_writable_file`."""
    present = [path for path in paths if path.exists()]
    there = [os.stat(one) for one in inputs if os.path.exists(one)] if present else []  # noqa: PTH110, PTH116
    taken = {(one.st_dev, one.st_ino) for one in there}
    for path in present:
        if path.is_dir() and path.suffix != CORE_ML:
            raise InputError(f"cannot write to {path}: it is a folder; give a file name")
        what = "photograph" if path.suffix.lower() in FIGURES else "file"
        if (path.stat().st_dev, path.stat().st_ino) in taken:
            raise InputError(f"{option} would overwrite the {what} {path}, an input; choose another name")
        if not _is_own_kind(path):
            raise InputError(
                f"{option} would overwrite the {what} {path}, which is not an earlier output; "
                "choose another name"
            )


def _is_own_kind(path: Path) -> bool:
    """Whether a file may be the command's own earlier output, by its suffix and content."""
    if path.is_dir():
        path = path / CORE_ML_MODEL
        if not path.is_file():
            return False
    if path.stat().st_size == 0 or not path.is_file():
        return True
    mark = _MARKS.get(path.suffix.lower())
    try:
        with path.open("rb") as file:
            if mark:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    return content.find(mark.encode()) >= 0
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; choose another name") from None
    # Photographs, models and archives contain zero bytes; text never does.
    return head.startswith(b"\x93NUMPY") if path.suffix == ".npy" else b"\0" not in head


def is_own_figure(path: Path) -> bool:
    """Whether an image file is a figure of this package, judged by the metadata at its start."""
    try:
        # Opening a pipe would wait for its other end.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return FIGURE_MARK.encode() in file.read(_HEAD)
    except OSError:
        return False
