"""System failures during training, as messages that say what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from skinlesion_cli.common.errors import SkinLesionError, TrainingError, lacks_memory, messages
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.training.run_folder import RunFolder

# torch names a piece of shared memory /torch_NUMBER.
_NO_SHARED_MEMORY = re.compile("Bus error|shared memory|</torch_.*No space left on device")
_NO_FILES = re.compile("Too many open files")
SCARCE = "this system has little shared memory (in Docker: docker run --shm-size 2g)"


@contextmanager
def named_faults(settings: Settings, folder: RunFolder | None = None) -> Iterator[None]:
    """Turn a known system failure inside the block into a `TrainingError` that says what to do.

    How to continue depends on whether `folder` contains a checkpoint to resume from.
    """
    try:
        yield
    except SkinLesionError as error:
        if "in DataLoader worker process" in str(error):
            # Its own message, without the worker's traceback.
            name = f"{type(error).__module__}.{type(error).__qualname__}: "
            raise type(error)(_last_line(str(error)).removeprefix(name)) from None
        raise
    except (RuntimeError, MemoryError, OSError, ValueError) as error:
        if (text := _explained(error, settings, folder)) is None:
            raise
        raise TrainingError(text) from error


def _explained(error: Exception, settings: Settings, folder: RunFolder | None) -> str | None:
    """What a torch error means and what to do, in one line; None for an unknown error."""
    text = messages(error)
    go_on = "continue with --resume" if folder is None or folder.is_resumable else "start again"
    says = f"then {go_on} (torch says: {_last_line(text)})"
    if _NO_FILES.search(text):
        fault = "the processes that read images ran out of open files"
        return f"{fault}: use --num-workers 0, or raise the limit with ulimit -n 65536, {says}"
    if _NO_SHARED_MEMORY.search(text):
        fault = "the processes that read images ran out of shared memory"
        remedy = "use --num-workers 0, or give the system more (in Docker: docker run --shm-size 2g)"
        return f"{fault}: {remedy}, {says}"
    if dead := re.search(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (.+)", text):
        return (
            f"a process that reads images died ({dead[1].rstrip('.')}); if the system is out of memory, use "
            f"fewer --num-workers or --cache off; {go_on}"
        )
    if lacks_memory(error):
        return (
            f"out of memory with batches of {settings.batch_size} images of {settings.img_size} pixels: "
            "use a smaller --batch-size (with --accumulate to keep the images per step), or --precision bf16 "
            "or fp16 if the device supports it"
        )
    if "Expected more than 1 value per channel" in text:
        return "batch normalisation cannot train on a batch of one image: use --batch-size 2 or more"
    return None


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip()
