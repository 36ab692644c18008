"""Progress events of the library: plain values, which the command line displays."""

from collections.abc import Callable
from dataclasses import dataclass


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


Event = Note | Warned | Busy | StepsDone | ImagesDone | EpochDone
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Discard an event."""
