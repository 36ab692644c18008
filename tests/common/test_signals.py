import multiprocessing
import os
import signal
import time

import pytest

from skinlesion_cli.common.signals import Stopped, Stopping, outlive_signals
from tests.support.processes import run_to_end


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_raises_immediately_if_not_held() -> None:
    with Stopping(), pytest.raises(Stopped) as stopped:
        send(signal.SIGTERM)
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_a_held_signal_is_recorded_and_raises_on_leaving() -> None:
    reached = []
    with Stopping() as stopping, pytest.raises(Stopped) as stopped, stopping.held():  # noqa: PT012
        send(signal.SIGINT)
        reached.append(stopping.asked)
        send(signal.SIGTERM)  # the first one counts
        reached.append(stopping.asked)
    assert reached == [signal.SIGINT, signal.SIGINT]
    assert stopped.value.exit_code == 130


def test_a_recorded_signal_raises_when_allowed() -> None:
    reached = []
    with Stopping() as stopping, pytest.raises(Stopped), stopping.held():  # noqa: PT012
        send(signal.SIGTERM)
        try:
            with stopping.at_once():
                reached.append("inside")
        except Stopped:
            send(signal.SIGTERM)  # held again
            reached.append("saved")
            raise
    assert reached == ["saved"]


def test_a_second_interrupt_raises_everywhere_and_is_not_a_clean_stop() -> None:
    reached = []
    with Stopping() as stopping, pytest.raises(KeyboardInterrupt) as stopped, stopping.held():  # noqa: PT012
        send(signal.SIGINT)
        reached.append(stopping.asked)
        send(signal.SIGINT)
    assert reached == [signal.SIGINT]
    assert not isinstance(stopped.value, Stopped)


def test_an_interrupt_forwarded_by_the_parent_counts_once() -> None:
    reached = []
    with Stopping(echo=60) as stopping, pytest.raises(Stopped), stopping.held():  # noqa: PT012
        send(signal.SIGINT)
        send(signal.SIGINT)
        reached.append(stopping.asked)
    assert reached == [signal.SIGINT]


def wait_as_worker(ready: "multiprocessing.synchronize.Event") -> None:
    outlive_signals()
    ready.set()
    time.sleep(60)


def test_a_worker_ignores_signals_to_its_group_but_not_from_its_parent() -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    worker = context.Process(target=wait_as_worker, args=(ready,), daemon=True)
    worker.start()
    try:
        assert ready.wait(30)
        for name in ("INT", "TERM"):
            run_to_end(["/bin/kill", f"-{name}", str(worker.pid)])
        worker.join(0.5)
        assert worker.is_alive()
        worker.terminate()
        worker.join(10)
        assert worker.exitcode == 0
    finally:
        worker.kill()
        worker.join()
