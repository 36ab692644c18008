"""The interface of a tracker: a class with three methods, created from a `Run`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast


@dataclass(frozen=True)
class Run:
    """A training run, as a tracker receives it."""

    folder: Path
    """Where local files go: `tracking/` in the folder of the run. It exists."""
    name: str
    """The name of the run's folder."""
    id: str
    """Eight hexadecimal digits; a resumed run keeps them, another run in the same folder gets new ones."""
    settings: dict[str, str | int | float | bool]
    """Every setting that has a value; paths as text."""
    resumed: bool
    """Whether this tracker has already logged the beginning of this run."""


class Tracker(Protocol):
    """Where the metrics and figures of one run go. Its errors end the tracking, not the training."""

    view: str
    """The command that shows the logs, for the user."""

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        """Log the values of an epoch, counted from 1; final scores come with the last one."""

    def picture(self, name: str, file: Path, epoch: int) -> None:
        """Log a .png file."""

    def end(self, *, finished: bool) -> None:
        """Write what is still buffered, and close; not `finished` if an error or a signal ended the run."""


class StepLog:
    """The methods of trackers whose library logs values and figures with one call, each with its step."""

    _run: Any
    _image: Callable[[str], Any]
    """Creates the library's image from a file."""

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        """Log values."""
        self._run.log(dict(figures), step=epoch)

    def picture(self, name: str, file: Path, epoch: int) -> None:
        """Log a figure."""
        self._run.log({name: self._image(str(file))}, step=epoch)


Open = Callable[[Run], Tracker]
"""Starts or continues the tracking of a run: usually the class of the tracker."""


def opener(name: str) -> Open:
    """How to open a built-in tracker. Its library is imported when it is opened."""
    return cast(Open, lambda run: import_module(f"skinlesion_cli.tracking.{name}").Tracker(run))
