"""How many processes read images. No torch here: the audit of a data set needs none."""

import os


def worker_count(num_workers: int | None) -> int:
    """Processes that read images: as asked for, or one a usable CPU core and 8 at most."""
    if num_workers is not None:
        return num_workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)
