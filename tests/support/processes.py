"""Processes that a test starts, and that end with it whatever happens."""

import contextlib
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MARK = "TEST_PROCESS_MARK"


@contextlib.contextmanager
def started(
    command: Sequence[str], *, env: Mapping[str, str], **options: Any
) -> Iterator["subprocess.Popen[str]"]:
    """Start a process in a group of its own; on leaving, kill it and every process that it started.

    Args:
        command: the program and its arguments.
        env: its environment.
        options: of `subprocess.Popen`.
    """
    # torchrun gives each of its workers a session of its own, out of reach of a signal to its group.
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        command, env=dict(env) | {MARK: mark}, encoding="utf-8", start_new_session=True, **options
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            for number in marked(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


def marked(mark: str) -> list[int]:
    """Process numbers of those that inherited the mark; none where the system has no /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found
