"""Passes over files: the one loop behind validation, evaluation and prediction. No torch here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.common.errors import SkinLesionError, UnreadableImageError
from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.eval_views import KeptViews, PartOfKept, viewed_batches
from skinlesion_cli.data.splits import Split
from skinlesion_cli.metrics.predictions import Predictions


@dataclass(frozen=True)
class Answers:
    """What a model says of a batch."""

    probabilities: NDArray[np.float64]
    """(n, classes); each row sums to 1."""
    distances: NDArray[np.float64] | None = None
    """(n,): from the training images; None where the model does not know them."""


class Backend(Protocol):
    """What computes a model's answers: torch, or the runtime of an exported model."""

    @property
    def img_size(self) -> int:
        """Side of the images that the model takes, in pixels."""

    def answers(self, images: NDArray[np.uint8]) -> Answers:
        """What the model says of a batch of bytes (n, 3, img_size, img_size)."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file: its probabilities, or why it could not be read."""

    probabilities: NDArray[np.float64] | None
    """(classes,), sums to 1."""
    fault: str
    distance: float | None = None
    """From the training images; None where the model does not know them."""


def probabilities_of(
    backend: Backend,
    paths: Sequence[Path],
    *,
    batch_size: int,
    workers: int,
    task: str = "",
    on_event: OnEvent = ignore,
    kept: KeptViews | None = None,
) -> Iterator[Outcome]:
    """Yield the outcome of each file, in their order; memory does not grow with their number.

    Raises:
        SkinLesionError: the model's answers are not numbers.
    """
    done = 0
    for batch in viewed_batches(
        paths, img_size=backend.img_size, batch_size=batch_size, workers=workers, kept=kept
    ):
        answers = backend.answers(batch.images)
        require_finite(answers)
        done += len(batch.faults)
        on_event(ImagesDone(task, done, len(paths)))
        for row, fault in enumerate(batch.faults):
            distance = None if answers.distances is None else float(answers.distances[row])
            yield Outcome(None, fault) if fault else Outcome(answers.probabilities[row], "", distance)


def require_finite(answers: Answers) -> None:
    """See that a model's answers are numbers.

    Raises:
        SkinLesionError: some are not.
    """
    distances = answers.distances
    if not np.isfinite(answers.probabilities).all() or not (
        distances is None or np.isfinite(distances).all()
    ):
        raise SkinLesionError(
            "the model's answers are not numbers (NaN): its weights are damaged, or the precision is too low "
            "for them; take another checkpoint, or --precision fp32"
        )


def predict_split(
    backend: Backend,
    split: Split,
    classes: Sequence[str],
    *,
    batch_size: int,
    workers: int,
    on_event: OnEvent = ignore,
    kept: KeptViews | None = None,
    world: World = ALONE,
) -> Predictions:
    """Predict every image of a split.

    Args:
        backend: the model.
        split: its classes are those of the model, in any order.
        classes: the model's, in the order of its outputs.
        batch_size: images a forward pass.
        workers: threads that read images.
        on_event: is told of the progress.
        kept: views of the split from an earlier pass, and where to keep those of this one.
        world: the processes that share the work; each gets all predictions.

    Raises:
        SkinLesionError: the model's answers are not numbers.
        UnreadableImageError: some images cannot be read; scores without them would be another split's.
    """
    paths = split.paths
    mine = world.shard(len(paths), batch_size)
    with world.together():
        outcomes = list(
            probabilities_of(
                backend,
                [paths[index] for index in mine],
                batch_size=batch_size,
                workers=workers,
                task=f"scoring {split.name}",
                on_event=on_event,
                kept=None if kept is None else PartOfKept(kept, mine),
            )
        )
        faults = [outcome.fault for outcome in outcomes if outcome.fault]
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise UnreadableImageError(f"{faults[0]}{more}; mend or remove it, then score again")
    rows = [one.probabilities for one in outcomes if one.probabilities is not None]
    probabilities = world.collected(np.array(rows).reshape(-1, len(classes)), mine, len(paths))
    index = np.array([list(classes).index(name) for name in split.classes])
    return Predictions(
        images=tuple(file.as_posix() for file in split.files),
        classes=tuple(classes),
        predicted=probabilities.argmax(axis=1),
        true=index[np.array(split.labels)],
        probabilities=probabilities,
    )
