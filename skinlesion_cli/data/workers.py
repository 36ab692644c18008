"""Processes that read images. No torch here: the audit of a data set does not need it."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

from skinlesion_cli.common.signals import outlive_signals

Result = TypeVar("Result")
CHUNK = 8
"""Files submitted to a process at once: few enough to keep all busy, enough to make submitting cheap."""


def worker_count(num_workers: int | None, sharers: int = 1) -> int:
    """Number of threads or processes that read images.

    Args:
        num_workers: as requested; None for one per usable CPU core, at most 8.
        sharers: processes on this machine that share the cores.
    """
    return max(1, min(usable_cores() // sharers, 8)) if num_workers is None else num_workers


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_files(function: Callable[[Path], Result], paths: Sequence[Path], workers: int) -> Iterator[Result]:
    """Yield `function(path)` for each path, in order, computed by `workers` processes.

    Args:
        function: defined at the top level of a module, so that it can be pickled.
        paths: the files.
        workers: processes; below 2, this process does the work.
    """
    if workers < 2:
        yield from map(function, paths)
        return
    with ProcessPoolExecutor(workers, initializer=outlive_signals) as pool:
        yield from pool.map(function, paths, chunksize=CHUNK)
