"""Errors that the user can act on.

Each message is one line: what is wrong, where, and what to do. The command line prints it and exits with
`exit_code`; callers from Python catch `SkinLesionError`.
"""

import re
from collections.abc import Sequence
from typing import Literal

from skinlesion_cli.common.text import shortened

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# cuBLAS and cuDNN use other messages than torch if they run out of memory.
_NO_MEMORY = re.compile(
    r"out of memory|[Cc]an(?:no|')t allocate memory|not enough memory|STATUS_ALLOC_FAILED|"
    "unable to find an engine"
)


class SkinLesionError(Exception):
    """The work started and could not be finished, or it found faults."""

    exit_code = 1


class InputError(SkinLesionError):
    """Wrong usage or invalid input, found before any work."""

    exit_code = 2


class UnreadableImageError(SkinLesionError):
    """A file that cannot be read as an image."""

    def __init__(self, text: str, fault: Literal["damaged", "unknown", "large"] = "damaged"):
        super().__init__(text)
        self.fault = fault
        """unknown: not a format that can be read here; large: more pixels than the limit."""


class TrainingError(SkinLesionError):
    """Training cannot continue: a non-finite loss, for example."""


class PeerError(SkinLesionError):
    """Another process of the same run has failed and reports it itself."""

    def __init__(self, text: str, exit_code: int):
        super().__init__(text)
        self.exit_code = exit_code


class InterruptedRunError(SkinLesionError):
    """The command stopped because of a signal."""

    def __init__(self, text: str, exit_code: int):
        super().__init__(text)
        self.exit_code = exit_code


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first of many names, for a one-line message: `a, b, c and 4 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def messages(error: BaseException) -> str:
    """The messages of an error and of its causes, latest first, one per line."""
    cause = error.__cause__ or error.__context__
    return str(error) + (f"\n{messages(cause)}" if cause else "")


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, or one of its causes, says that the machine or the GPU is out of memory."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(messages(error)))


def one_line(error: BaseException, most: int = 200) -> str:
    """The message of another library's error, as one line of at most `most` characters."""
    return shortened(" ".join(_COLOURS.sub("", str(error)).split()), most) or type(error).__name__
