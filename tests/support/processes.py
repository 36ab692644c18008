"""Processes that a test starts, and that end with it whatever happens."""

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MARK = "TEST_PROCESS_MARK"


@dataclass(frozen=True)
class Finished:
    """A finished process."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, **options: Any
) -> Iterator["subprocess.Popen[str]"]:
    """Start a process in a group of its own; on leaving, kill it and every process that it started.

    Args:
        command: the program and its arguments.
        env: its environment; that of the tests if None.
        options: of `subprocess.Popen`.
    """
    # torchrun gives each of its workers a session of its own, out of reach of a signal to its group.
    mark = uuid.uuid4().hex
    marked_env = dict(os.environ if env is None else env) | {MARK: mark}
    with subprocess.Popen(
        command, env=marked_env, encoding="utf-8", start_new_session=True, **options
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            # Again until none is left: one may have started another in the meantime.
            while numbers := marked(mark):
                for number in numbers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(number, signal.SIGKILL)
                time.sleep(0.01)


def run_to_end(
    command: Sequence[str | Path], *, code: int = 0, seconds: float = 300.0, **options: Any
) -> Finished:
    """Run a process, assert its exit code, and return its output; after `seconds` it is killed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, **pipes, **options) as process:
        stdout, stderr = process.communicate(timeout=seconds)
    assert process.returncode == code, f"exit {process.returncode}\n{stdout}\n{stderr}"
    return Finished(process.returncode, stdout, stderr)


def wait_for(
    condition: Callable[[], bool], seconds: float = 60.0, process: "subprocess.Popen[str] | None" = None
) -> None:
    """Wait until a condition holds; fail after `seconds`, and at once when the process has ended."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.01)


def marked(mark: str) -> list[int]:
    """Process numbers of those that inherited the mark; none where the system has no /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def resident_mb(process: int | str = "self") -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def workers_of(agent: int) -> list[int]:
    """Process numbers of torchrun's workers, by rank."""
    if not Path("/proc").is_dir():
        pytest.skip("finds the processes in /proc")
    found = {}
    for child in Path(f"/proc/{agent}/task/{agent}/children").read_text(encoding="ascii").split():
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        found[next(int(value[5:]) for value in variables if value.startswith(b"RANK="))] = int(child)
    return [found[rank] for rank in sorted(found)]


def runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
