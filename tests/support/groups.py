"""Processes that a test starts, and that end with it whatever happens."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest


@contextlib.contextmanager
def group_of(command: Sequence[str], **options: Any) -> "Iterator[subprocess.Popen[str]]":
    """Start a command in a session of its own; on leaving, it and all of its children are killed."""
    process = subprocess.Popen(command, encoding="utf-8", start_new_session=True, **options)
    try:
        yield process
    finally:
        groups = [process.pid, *children_of(process.pid)]
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(group, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def children_of(process: int) -> list[int]:
    """The children of a process, and theirs; of none where there is no /proc."""
    try:
        found = [
            int(child)
            for thread in Path(f"/proc/{process}/task").iterdir()
            for child in (thread / "children").read_text(encoding="ascii").split()
        ]
    except OSError:
        return []
    return found + [below for child in found for below in children_of(child)]


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
