"""Stopping on a signal: Ctrl-C, or what a batch system sends before it kills a job."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""The exit code of a shell after SIGINT."""


class Stopped(KeyboardInterrupt):
    """Raised when work stops because of a signal. Not an `Exception`, so that no handler swallows it."""

    def __init__(self, number: int):
        super().__init__(number)
        self.exit_code = 128 + number
        """130 for SIGINT, 143 for SIGTERM, as a shell reports a process killed by the signal."""


class Stopping:
    """A context in which SIGINT and SIGTERM stop the work where it is safe. Main thread only.

    A signal raises `Stopped` immediately, except inside `held`, where it is only recorded. A second SIGINT
    always raises `KeyboardInterrupt` immediately; it is not a `Stopped`, because work may be half done.
    """

    def __init__(self, *, echo: float = 0.0) -> None:
        """echo: seconds within which a second SIGINT is the first one, forwarded by the parent process."""
        self.asked: int | None = None
        """The first signal received, or None."""
        self._echo = echo
        self._asked_at = 0.0
        self._held = False
        self._pid = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Stopping":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, a signal is only recorded in `asked`; on leaving, a recorded one raises `Stopped`."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before
        self._raise_recorded()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside `held`: let signals raise immediately again, including one recorded before."""
        before, self._held = self._held, False
        try:
            self._raise_recorded()
            yield
        finally:
            self._held = before

    def _raise_recorded(self) -> None:
        if self.asked is not None and not self._held:
            raise Stopped(self.asked)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal calls it
        # A forked child inherits this handler until it sets its own.
        if os.getpid() != self._pid:
            return
        if self.asked is None:
            self.asked, self._asked_at = number, time.monotonic()
            self._raise_recorded()
        elif number == signal.SIGINT and time.monotonic() - self._asked_at >= self._echo:
            raise KeyboardInterrupt


def outlive_signals(_worker: int = 0) -> None:
    """Make this worker process ignore signals to its process group, because the main process still needs it.

    Ctrl-C in a terminal and SIGTERM from a batch system reach all processes of a group. SIGTERM from the main
    process itself still ends the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_for_parent, name="signals", daemon=True).start()


def _end_for_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
