"""Stopping when a signal asks for it: Ctrl-C, or what a batch system sends before it kills."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130
"""The exit code that a shell makes of SIGINT."""


class Stopped(KeyboardInterrupt):
    """Raised where the work stops for a signal. No `Exception`: what handles faults must not swallow it."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number
        """Of the signal."""

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM: what a shell makes of a process that the signal killed."""
        return 128 + self.number


class Stopping:
    """While it is entered, SIGINT and SIGTERM stop the work where it is safe. Main thread only.

    A signal raises `Stopped` at once, except inside `held`, where it is only noted. A second SIGINT raises
    `KeyboardInterrupt` at once everywhere: no `Stopped`, for what is under way may be half done. Never
    entered, it notes nothing.
    """

    def __init__(self, *, echo: float = 0.0) -> None:
        """Args: seconds in which a second SIGINT is the first once more, handed on by the parent process."""
        self.asked: int | None = None
        """The signal that came first; None as long as none did."""
        self._echo = echo
        self._asked_at = 0.0
        self._held = False
        self._pid = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Stopping":
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, a signal is only noted; look at `asked`. On leaving, a noted one raises `Stopped`."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before
        self._raise_noted()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside `held`: let a signal raise at once again, one that was noted before included."""
        before, self._held = self._held, False
        try:
            self._raise_noted()
            yield
        finally:
            self._held = before

    def _raise_noted(self) -> None:
        if self.asked is not None and not self._held:
            raise Stopped(self.asked)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal calls it
        # A forked child has this handler until it sets its own.
        if os.getpid() != self._pid:
            return
        if self.asked is None:
            self.asked, self._asked_at = number, time.monotonic()
            self._raise_noted()
        elif number == signal.SIGINT and time.monotonic() - self._asked_at >= self._echo:
            raise KeyboardInterrupt


def outlive_signals(_worker: int = 0) -> None:
    """Make a worker process leave signals to the main process, which still needs it; called in the worker.

    A terminal's Ctrl-C and a batch system's SIGTERM go to all processes of a group. SIGTERM from the main
    process itself ends the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_for_parent, name="signals", daemon=True).start()


def _end_for_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
