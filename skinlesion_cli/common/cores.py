"""How many CPU cores this process may use, and telling other libraries so."""

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
    """Let OpenMP (torch) and the BLAS of numpy start as many threads as there is CPU time for, before import.

    They count the cores of the affinity, but do not know a control group's `limit`, None for that of this
    process. Where there is none nothing changes, and a user's own OMP_NUM_THREADS stays.
    """
    limit = cpu_limit() if limit is None else limit
    if limit < _affinity():
        environ.setdefault("OMP_NUM_THREADS", str(max(1, int(limit))))


def cpu_limit(groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> float:
    """CPU time per time that the process's control groups allow, in cores; infinite without a limit.

    Containers and batch systems set it; the number of cores that the system names is then the machine's.
    """
    try:
        lines = [line.split(":", 2) for line in groups.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return math.inf
    limit = math.inf
    for _, controllers, own in lines:
        # Version 2 has one hierarchy, without a name; version 1 one per set of controllers.
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
