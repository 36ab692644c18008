"""Failures of the machine during training, as messages that say what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from skinlesion_cli.common.errors import SkinLesionError, TrainingError
from skinlesion_cli.common.settings import Settings

_FROM_WORKER = "in DataLoader worker process"
_NO_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory", "not enough memory")
_NO_SHARED_MEMORY = ("Bus error", "shared memory", "No space left on device", "Too many open files")


@contextmanager
def named_faults(settings: Settings) -> Iterator[None]:
    """Turn a known failure of the machine inside the block into an error that says what to do.

    Raises:
        TrainingError: out of memory, or a process that reads images died.
        SkinLesionError: as it was raised, also in a process that reads images.
    """
    try:
        yield
    except SkinLesionError as error:
        if _FROM_WORKER in str(error):
            raise type(error)(_own_words(error)) from None
        raise
    except (RuntimeError, MemoryError, OSError) as error:
        text = explained(error, settings)
        if text is None:
            raise
        raise TrainingError(text) from error


def explained(error: Exception, settings: Settings) -> str | None:
    """What an error of torch means and what to do, in one line; None for an unknown error."""
    text = _messages(error)
    # The message says that a worker is dead, or repeats the error that the worker raised.
    if "DataLoader worker" in text and _has(text, _NO_SHARED_MEMORY):
        return (
            "a process that reads images ran out of shared memory or of open files: use --num-workers 0 or "
            f"--cache off, then continue with --resume (torch says: {_last_line(text)})"
        )
    if dead := re.search(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (.+)", text):
        return (
            f"a process that reads images died ({dead[1].rstrip('.')}); if the system is out of memory, use "
            "fewer --num-workers or --cache off; continue with --resume"
        )
    if isinstance(error, MemoryError) or _has(text, _NO_MEMORY):
        return (
            f"out of memory with batches of {settings.batch_size} images of {settings.img_size} pixels: "
            "use a smaller --batch-size (with --accumulate to keep the images per step), or --precision bf16 "
            "or fp16 if the device supports it"
        )
    return None


def _messages(error: BaseException) -> str:
    """The messages of an error and of its causes, latest first."""
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        texts.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


def _own_words(error: SkinLesionError) -> str:
    """The message of an error that a worker raised, without the worker's traceback."""
    return _last_line(str(error)).removeprefix(f"{type(error).__module__}.{type(error).__qualname__}: ")


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip() if text.strip() else ""


def _has(text: str, signs: tuple[str, ...]) -> bool:
    return any(sign in text for sign in signs)
