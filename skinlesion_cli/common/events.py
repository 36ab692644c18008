"""What the core tells of its progress: plain values that only the command line draws."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """Something a person should know and need not act on."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something that may be wrong."""

    text: str


@dataclass(frozen=True)
class StepsDone:
    """How far a training epoch has come. Sent a few times a second."""

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float


@dataclass(frozen=True)
class ImagesDone:
    """How far a pass over some images has come."""

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch: a row of history.csv."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean of the weighted loss over the draws."""
    train_accuracy: float
    val_loss: float
    """The weighted loss on validation."""
    val_accuracy: float
    val_weighted_f1: float
    learning_rate: float
    """The one that this epoch used."""
    best: bool
    """Whether it beat every epoch before it."""


@dataclass(frozen=True)
class EpochDone:
    """An epoch came to its end."""

    record: EpochRecord
    epochs: int


Event = Note | Warned | StepsDone | ImagesDone | EpochDone
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take no notice."""
