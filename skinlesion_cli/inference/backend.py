"""Forward passes over images: the one loop behind validation, evaluation and prediction. No torch here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.common.errors import SkinLesionError, UnreadableImageError
from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.common.paper import Resize
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.eval_views import KeptViews, viewed_batches
from skinlesion_cli.data.splits import Split
from skinlesion_cli.inference.tta import FLIPS, flipped
from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.metrics.predictions import Predictions


@dataclass(frozen=True)
class Outputs:
    """What a model computes for a batch of n images."""

    logits: NDArray[np.floating]
    """(n, classes), before any temperature."""
    distances: Floats | None = None
    """(n,): out-of-distribution distances; None if the model has no detector."""
    maps: NDArray[np.floating] | None = None
    """(n, classes, rows, columns): what each position adds to each logit; None but for `export --cam`."""


class Backend(Protocol):
    """What runs a model: torch, or the runtime of an exported model."""

    img_size: int
    """Side of the model's input, in pixels."""
    resize: Resize
    """How a photograph is resized before the crop."""

    def outputs(self, images: NDArray[np.uint8]) -> Outputs:
        """Run the model on a batch of bytes (n, 3, img_size, img_size)."""


@dataclass(frozen=True)
class Outcome:
    """The model's outputs for one image, or why the image could not be read."""

    logits: NDArray[np.floating] | None
    """(views, classes), before any temperature; the unflipped view first."""
    fault: str
    distance: float | None = None
    """Out-of-distribution distance; None if the model has no detector."""


def outcomes_of(
    backend: Backend,
    paths: Sequence[Path],
    *,
    batch_size: int,
    workers: int,
    task: str = "",
    on_event: OnEvent = ignore,
    kept: KeptViews | None = None,
    indices: Sequence[int] | None = None,
    flips: bool = False,
) -> Iterator[Outcome]:
    """Yield the outcome of each image, in order; memory does not grow with their number."""
    done = 0
    for batch in viewed_batches(
        paths,
        img_size=backend.img_size,
        resize=backend.resize,
        batch_size=batch_size,
        workers=workers,
        kept=kept,
        indices=indices,
    ):
        outputs = [backend.outputs(images) for images in flipped(batch.images, flips)]
        logits, distances = np.stack([one.logits for one in outputs], axis=1), outputs[0].distances
        require_finite(logits, distances)
        done += len(batch.faults)
        on_event(ImagesDone(task, done, len(paths)))
        for row, fault in enumerate(batch.faults):
            distance = None if distances is None else float(distances[row])
            yield Outcome(None, fault) if fault else Outcome(logits[row], "", distance)


def require_finite(*outputs: NDArray[Any] | None) -> None:
    """Raise SkinLesionError if some of a model's outputs are not finite numbers."""
    if not all(values is None or np.isfinite(values).all() for values in outputs):
        raise SkinLesionError(
            "the model's outputs are not finite (NaN): its weights are damaged, or the precision is too low "
            "for them; use another checkpoint, or --precision fp32"
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
    temperature: float | None = None,
    flips: bool = False,
) -> Predictions:
    """Predict every image of a split, whose classes are among those of the model, in any order.

    The processes of `world` share the work, and each gets all predictions. None for `temperature` means no
    calibration. With `flips`, the probabilities are means over flipped views; the `logits` are still those of
    the images as they are, and have no temperature, because a mean has none of its own.

    Raises:
        UnreadableImageError: some images cannot be read; scores without them would be those of another split.
    """
    paths, mine = split.paths, world.shard(len(split.paths), batch_size)
    with world.together():
        outcomes = list(
            outcomes_of(
                backend,
                [paths[index] for index in mine],
                batch_size=batch_size,
                workers=workers,
                task=f"scoring {split.name}",
                on_event=on_event,
                kept=kept,
                indices=mine,
                flips=flips,
            )
        )
        if faults := [outcome.fault for outcome in outcomes if outcome.fault]:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise UnreadableImageError(f"{faults[0]}{more}; repair or remove it, then score again")
    views = len(FLIPS) if flips else 1
    rows = np.array([one.logits for one in outcomes], dtype=np.float64).reshape(-1, views * len(classes))
    logits = world.collected(rows, mine, len(paths)).reshape(-1, views, len(classes))
    probabilities = softmax(logits, temperature).mean(axis=1)
    index = np.array([list(classes).index(name) for name in split.classes])
    return Predictions(
        images=tuple(file.as_posix() for file in split.files),
        classes=tuple(classes),
        predicted=(probabilities if flips else logits[:, 0]).argmax(axis=1),
        true=index[np.array(split.labels)],
        probabilities=probabilities,
        logits=logits[:, 0],
        temperature=None if flips else temperature,
    )
