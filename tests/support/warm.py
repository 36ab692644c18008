"""The command in a process that forks off one which has imported torch and timm: as real, but seconds sooner.

Whether a command imports what it needs, and no more, is tested in new processes (tests/cli/test_prompt.py).
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.processes import Finished

ROOT = Path(__file__).parents[2]
HARMLESS = ("SKINLESION_", "COLUMNS")
"""Beginnings of the variables that no library has read at its import."""


class Warm:
    """The process that forks, and the commands that run in its children, one at a time."""

    def __init__(self, environment: Mapping[str, str]):
        self._environment = dict(environment)
        self._channel, theirs = socket.socketpair()
        command = [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())]
        self._process = subprocess.Popen(
            command, env=self._environment, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True
        )
        theirs.close()
        self._answers = self._channel.makefile("r", encoding="ascii")

    def takes(self, environment: Mapping[str, str]) -> bool:
        """Whether a command in this environment can run here."""
        changed = dict(environment).items() ^ self._environment.items()
        return all(name.startswith(HARMLESS) for name, _ in changed)

    def run(
        self, args: list[str], *, env: Mapping[str, str], cwd: Path, code: int = 0, seconds: float = 300.0
    ) -> Finished:
        """As `run_to_end`, for `skinlesion ARGS`."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            request = {"args": args, "env": dict(env), "cwd": str(cwd)}
            message = json.dumps(request).encode()
            self._channel.settimeout(60)
            self._channel.sendall(len(message).to_bytes(4, "big"))
            socket.send_fds(self._channel, [b"."], [out.fileno(), err.fileno()])
            self._channel.sendall(message)
            child = int(self._answers.readline())
            self._channel.settimeout(seconds)
            try:
                found = int(self._answers.readline())
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)
                self.end()
                raise
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        assert found == code, f"exit {found}\n{texts[0]}\n{texts[1]}"
        return Finished(found, *texts)

    def end(self) -> None:
        """End the process."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


def _serve(channel: socket.socket) -> None:
    import sklearn.metrics
    import timm
    import torchvision  # noqa: F401

    assert timm
    assert sklearn.metrics
    # A child's collector must not touch, and so copy, what it shares with this process.
    gc.freeze()
    while length := channel.recv(4, socket.MSG_WAITALL):
        _, files, _, _ = socket.recv_fds(channel, 1, 2)
        request = json.loads(channel.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
        if (child := os.fork()) == 0:
            channel.close()
            _become_command(request, files)
        for file in files:
            os.close(file)
        channel.sendall(f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        channel.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become_command(request: dict[str, Any], files: list[int]) -> None:
    os.setsid()
    for number, file in enumerate([os.open(os.devnull, os.O_RDONLY), *files]):
        os.dup2(file, number)
        os.close(file)
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)
        setattr(sys, name, open(before.fileno(), "w", encoding=before.encoding, errors=before.errors))  # noqa: PTH123, SIM115
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.argv = ["skinlesion_cli", *request["args"]]
    code = 0
    try:
        runpy.run_module("skinlesion_cli", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # What Python does at its end, but for the two seconds in which it would free all that torch has made.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
