"""Processes that read images. No torch here: the audit of a data set does not need it."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

from skinlesion_cli.common.cores import usable_cores
from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.common.signals import outlive_signals

Result = TypeVar("Result")
CHUNK = 8
"""Files submitted to a process at once: few enough to keep all busy, enough to make submitting cheap."""


def worker_count(num_workers: int | None, sharers: int = 1) -> int:
    """Readers of images: as requested, or CPU cores / `sharers` (processes of this machine), 1 to 8."""
    return max(1, min(usable_cores() // sharers, 8)) if num_workers is None else num_workers


def workers_that_fit(workers: int, batch_bytes: int, shared: Path = Path("/dev/shm")) -> int:
    """At most as many worker processes as can pass batches of this size through the system's shared memory.

    A container often has 64 MiB of it, and a process that finds none left is killed. Each worker prepares two
    batches ahead, and two more are on their way to the device.
    """
    free = shutil.disk_usage(shared).free if shared.is_dir() else math.inf
    return max(0, int(min(workers, free / batch_bytes / 2 - 1)))


def process_pool(workers: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    """A pool of processes that leave signals to this one; None for fewer than 2 `workers`."""
    return ProcessPoolExecutor(workers, initializer=outlive_signals) if workers > 1 else nullcontext()


def map_files(
    function: Callable[[Path], Result], paths: Sequence[Path], workers: int, on_event: OnEvent = ignore
) -> Iterator[Result]:
    """Yield `function(path)` of each path, in order; from 2 `workers` on, processes call it (pickled)."""
    with process_pool(workers) as pool:
        results = pool.map(function, paths, chunksize=CHUNK) if pool else map(function, paths)
        for done, result in enumerate(results, start=1):
            on_event(ImagesDone("reading", done, len(paths)))
            yield result
