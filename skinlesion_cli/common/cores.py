"""The number of CPU cores that this process may use, passed on to other libraries."""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path


def usable_cores() -> int:
    """CPU cores that this process may use, by its affinity and the limits of its control groups (Linux)."""
    return max(1, int(min(_affinity(), cpu_limit())))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(environ: MutableMapping[str, str], limit: float | None = None) -> None:
    """Let OpenMP (torch) and numpy's BLAS start no more threads than there is CPU time for, before import.

    They respect the affinity, but not the `limit` of a control group; None means that of this process.
    Without a limit nothing changes, and an OMP_NUM_THREADS set by the user is kept.
    """
    limit = cpu_limit() if limit is None else limit
    if limit < _affinity():
        environ.setdefault("OMP_NUM_THREADS", str(max(1, int(limit))))


def cpu_limit(groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> float:
    """The CPU quota of the process's control groups, in cores; infinite without a limit.

    Containers and batch systems set it; the number of cores that the system reports is still the machine's.
    """
    try:
        lines = [line.split(":", 2) for line in groups.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return math.inf
    limit = math.inf
    for _, controllers, own in lines:
        # cgroup version 2 has one hierarchy, without a name; version 1 has one per set of controllers.
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Inside a container, the root may be its own group, whatever the name.
        for part in {Path(own), *Path(own).parents, Path("/")}:
            limit = min(limit, _quota(mount / controllers / part.relative_to("/")))
    return limit


def _quota(group: Path) -> float:
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((group / name).read_text(encoding="utf-8").strip() for name in names)
        return math.inf if quota in {"max", "-1"} else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
