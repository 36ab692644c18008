"""Importing large libraries for a command, without Python's garbage collector."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """A context without garbage collection; what exists at its end is searched only once more, at exit.

    torch and timm create 400,000 objects that stay until the process ends. By default, Python searches them
    dozens of times while they are imported.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        # Otherwise libraries report objects that were never freed when the process ends.
        atexit.register(gc.unfreeze)
        if enabled:
            gc.enable()
