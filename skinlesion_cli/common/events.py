"""Progress events of the library: plain values, which the command line displays."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinlesion_cli.common.settings import Settings


@dataclass(frozen=True)
class Note:
    """Information that needs no action."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something that may be wrong."""

    text: str


@dataclass(frozen=True)
class Busy:
    """The beginning of work that takes seconds and is not counted."""

    task: str


@dataclass(frozen=True)
class StepsDone:
    """Progress of a training epoch, sent a few times per second."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float
    seconds_left: float
    """Until the last step of the last epoch, if training does not stop early."""


@dataclass(frozen=True)
class ImagesDone:
    """Progress of a pass over some images."""

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch: a row of history.csv."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean weighted loss over the sampled images."""
    train_accuracy: float
    val_loss: float
    """Weighted loss on the validation split."""
    val_accuracy: float
    val_weighted_f1: float
    learning_rate: float
    """Used in this epoch."""
    best: bool
    """Whether it is better than all epochs before it."""
    val_macro_f1: float | None = None
    val_balanced_accuracy: float | None = None
    val_weighted_auc: float | None = None
    """None if it is undefined."""


@dataclass(frozen=True)
class EpochDone:
    """The end of an epoch."""

    record: EpochRecord
    epochs: int
    select: str = "weighted-f1"
    """The validation score that selects the epoch."""


@dataclass(frozen=True)
class RunStarted:
    """A training run is about to do its first step."""

    folder: Path
    settings: Settings
    history: tuple[EpochRecord, ...]
    """The epochs before the run was resumed; empty for a new run."""
    resumed: bool


@dataclass(frozen=True)
class RunScored:
    """The best epoch of a training run has been scored on every split, and results/ is complete."""

    history: tuple[EpochRecord, ...]
    """Every epoch of the run."""
    documents: dict[str, dict[str, Any]]
    """The evaluation document of each split (see `evaluate`)."""
    pictures: tuple[Path, ...]
    """The figures in results/."""


Event = Note | Warned | Busy | StepsDone | ImagesDone | EpochDone | RunStarted | RunScored
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Discard an event."""
