"""Memory that a process keeps, where a CPU computes.

Each step of training, and each piece of a scoring pass, wants the same blocks of tens and hundreds of
megabytes. The C library's habit is to give such blocks back at once and to ask the system for fresh ones,
which come page by page, filled with zeros: on two cores that took half the time of a step in fp32.
"""

import ctypes
import functools
import os
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**31 - 1
_PAD = 64 * 2**20

OWN_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES")
"""How the names of variables begin by which a user sets the C library's allocator."""


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process use freed blocks of up to 2 GiB again, instead of giving them back.

    The process then holds more than it uses: up to a third more was seen. Where the environment sets the
    allocator, and where there is no glibc, nothing is done.

    Returns:
        Whether it was done.
    """
    if sys.platform != "linux" or any(name.startswith(OWN_SETTINGS) for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {_MMAP_THRESHOLD: _LARGEST, _TRIM_THRESHOLD: _LARGEST, _TOP_PAD: _PAD}
    taken = [mallopt(name, value) for name, value in settings.items()]
    return all(taken)
