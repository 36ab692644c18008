import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skinlesion_cli.common.cores import cpu_limit, limit_threads, usable_cores

V1 = ("cpu.cfs_quota_us", "cpu.cfs_period_us")


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        ("0::/job/step", {"job/step/cpu.max": "max 100000", "job/cpu.max": "250000 100000"}, 2.5),
        ("0::/", {"cpu.max": "50000 100000"}, 0.5),
        # The name of the group is that outside the container.
        ("0::/host/name", {"cpu.max": "400000 100000"}, 4.0),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("4:cpu,cpuacct:/a", {f"cpu,cpuacct/a/{V1[0]}": "300000", f"cpu,cpuacct/a/{V1[1]}": "100000"}, 3.0),
        ("4:cpu:/", {f"cpu/{V1[0]}": "-1", f"cpu/{V1[1]}": "100000"}, math.inf),
        ("1:name=systemd:/", {}, math.inf),
        ("0::/", {"cpu.max": ""}, math.inf),
    ],
)
def test_the_limits_of_control_groups(
    tmp_path: Path, line: str, files: dict[str, str], expected: float
) -> None:
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    (tmp_path / "cgroup").write_text(f"9:pids:/other\n{line}\n")
    assert cpu_limit(tmp_path / "cgroup", tmp_path / "mount") == expected


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path / "none", tmp_path) == math.inf


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_affinity_counts() -> None:
    allowed = os.sched_getaffinity(0)
    assert usable_cores() <= len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("limit", "before", "expected"),
    [(0.5, {}, "1"), (math.inf, {}, None), (0.5, {"OMP_NUM_THREADS": "7"}, "7")],
    ids=["limited", "no limit", "the user's own"],
)
def test_a_limit_on_cpu_time_limits_the_threads_of_other_libraries(
    limit: float, before: dict[str, str], expected: str | None
) -> None:
    environ = dict(before)
    limit_threads(environ, limit)
    assert environ.get("OMP_NUM_THREADS") == expected


@pytest.mark.parametrize(
    ("variable", "expected"),
    [(None, "PASSIVE"), ("GOMP_SPINCOUNT=9", "None"), ("OMP_WAIT_POLICY=ACTIVE", "ACTIVE")],
)
def test_threads_wait_without_spinning_unless_the_user_chose(variable: str | None, expected: str) -> None:
    tuned = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}
    environment = {name: value for name, value in os.environ.items() if name not in tuned}
    environment |= dict([variable.split("=")]) if variable else {}
    code = "import os, skinlesion_cli; print(os.environ.get('OMP_WAIT_POLICY'))"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected
