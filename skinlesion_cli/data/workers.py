"""What reads images beside the main work. No torch here: the audit of a data set needs none."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

from skinlesion_cli.common.signals import outlive_signals

Result = TypeVar("Result")
FILES_A_TURN = 8
"""Files that a process is handed at once: few enough to keep all busy, enough to make handing over cheap."""


def worker_count(num_workers: int | None, sharers: int = 1) -> int:
    """Threads or processes that read images: as asked for, or one a usable CPU core and 8 at most.

    Args:
        num_workers: as asked for; None leaves it to the machine.
        sharers: processes of this machine that each want so many.
    """
    return max(1, min(usable_cores() // sharers, 8)) if num_workers is None else num_workers


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_files(function: Callable[[Path], Result], paths: Sequence[Path], workers: int) -> Iterator[Result]:
    """Yield `function(path)` for each path, in their order, from `workers` processes.

    Args:
        function: of a module's top level, so that another process can find it.
        paths: the files.
        workers: processes; below 2, this one does the work.
    """
    if workers < 2:
        yield from map(function, paths)
        return
    with ProcessPoolExecutor(workers, initializer=outlive_signals) as pool:
        yield from pool.map(function, paths, chunksize=FILES_A_TURN)
