"""Faults of the machine in the middle of training, in the user's words."""

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
    """Inside, a fault of the machine that is known by its message becomes one that says what to do.

    Raises:
        TrainingError: memory is exhausted, or a process that reads images died.
        SkinLesionError: as it was raised, in a process that reads images too.
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
    """What a fault of torch means and what to do, in one line; None where it is not known."""
    text = _told(error)
    # The message says of a worker that it is dead, or repeats the fault that the worker raised.
    if "DataLoader worker" in text and _has(text, _NO_SHARED_MEMORY):
        return (
            "a process that reads images ran out of shared memory or of open files: use --num-workers 0, or "
            f"--cache off, then --resume (torch says: {_last_line(text)})"
        )
    if dead := re.search(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (.+)", text):
        return (
            f"a process that reads images died ({dead[1].rstrip('.')}); where the system kills for want of "
            "memory, use fewer --num-workers or --cache off; --resume goes on"
        )
    if isinstance(error, MemoryError) or _has(text, _NO_MEMORY):
        return (
            f"out of memory with batches of {settings.batch_size} images of {settings.img_size} pixels: "
            "use a smaller --batch-size (--accumulate keeps the gradient's), or --precision bf16 or fp16 "
            "where the device has them"
        )
    return None


def _told(error: BaseException) -> str:
    """The messages of an error and of those that led to it, the last one first."""
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        texts.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


def _own_words(error: SkinLesionError) -> str:
    """The message of an error that a worker raised, without the worker's traceback around it."""
    return _last_line(str(error)).removeprefix(f"{type(error).__module__}.{type(error).__qualname__}: ")


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip() if text.strip() else ""


def _has(text: str, signs: tuple[str, ...]) -> bool:
    return any(sign in text for sign in signs)
