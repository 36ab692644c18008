"""Files that are written whole or not at all."""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.limits import MAX_TEXT_BYTES, size_text


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


NO_UTF8 = "it is no UTF-8 text; save it as UTF-8"


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
        raise InputError(f"cannot read {what}{path}: {NO_UTF8}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {what}{path}: {reason}") from None


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
