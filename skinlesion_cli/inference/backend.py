"""Forward passes over images: the one loop behind validation, evaluation and prediction. No torch here."""

import json
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
from skinlesion_cli.inference.journal import Batch, Section
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
    """(n, classes, rows, columns): contribution of each position to each logit; only for `export --cam`."""


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
    flips: bool = False,
    world: World = ALONE,
    section: Section | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Yield the index and the outcome of each image, in order; memory does not grow with their number.

    The batches are distributed among the processes of `world` in turn, and each process yields all outcomes.
    The batches are those of a single process, so that the outcomes are the same to the last bit. Batches that
    are in a `section` of a journal are not computed again; in an array job, only those of this part are
    yielded.
    """
    count = len(paths)
    batches = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    plan = [*section.planned(len(batches))] if section and world.leads else [*range(len(batches))]
    finished = section.finished() if section and world.leads else []
    if world.size > 1:
        plan, finished = json.loads(world.from_leader(json.dumps([plan, finished]).encode()))
    known = set(finished)
    todo = [number for number in plan if number not in known]
    mine = [index for number in todo[world.rank :: world.size] for index in batches[number]]
    computed = _computed(backend, paths, mine, batch_size, workers, kept, flips)
    rounds = (todo[start : start + world.size] for start in range(0, len(todo), world.size))
    fresh: dict[int, list[Outcome]] = {}
    done, total = 0, sum(len(batches[number]) for number in plan)
    for number in plan:
        if number in known:
            line = section.read(number) if section and world.leads else {}
            if world.size > 1:
                line = json.loads(world.from_leader(json.dumps(line).encode()))
            found = _unpacked(line)
        else:
            if number not in fresh:
                fresh = _next_round(computed, next(rounds), world)
                if section and world.leads and len(batches) > 1:
                    for one, outcomes in fresh.items():
                        section.write(one, _packed(outcomes))
            found = fresh.pop(number)
        done += len(found)
        on_event(ImagesDone(task, done, total))
        yield from zip(batches[number], found, strict=True)


def _next_round(
    computed: Iterator[list[Outcome]], numbers: Sequence[int], world: World
) -> dict[int, list[Outcome]]:
    """The outcomes of the next batch of each process, by the number of the batch."""
    with world.together():
        own = next(computed, [])
    shared = [own] if world.size == 1 else [_unpacked(one) for one in world.gather(_packed(own))]
    return dict(zip(numbers, shared, strict=False))


def _computed(
    backend: Backend,
    paths: Sequence[Path],
    indices: Sequence[int],
    batch_size: int,
    workers: int,
    kept: KeptViews | None,
    flips: bool,
) -> Iterator[list[Outcome]]:
    """Compute the outcomes of the images with these indices, batch by batch."""
    for batch in viewed_batches(
        [paths[index] for index in indices],
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
        far = [None] * len(logits) if distances is None else distances.tolist()
        yield [
            Outcome(None, fault) if fault else Outcome(views, "", distance)
            for views, fault, distance in zip(logits, batch.faults, far, strict=True)
        ]


def _packed(outcomes: Sequence[Outcome]) -> Batch:
    """Outcomes as JSON-ready data, from which `_unpacked` makes the same numbers."""
    return {
        "logits": [None if one.logits is None else one.logits.tolist() for one in outcomes],
        "faults": [one.fault for one in outcomes],
        "distances": [one.distance for one in outcomes],
    }


def _unpacked(batch: Batch) -> list[Outcome]:
    rows = zip(batch["logits"], batch["faults"], batch["distances"], strict=True)
    return [
        Outcome(None if logits is None else np.array(logits, np.float64), fault, distance)
        for logits, fault, distance in rows
    ]


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
    section: Section | None = None,
) -> Predictions:
    """Predict every image of a split, whose classes are among those of the model, in any order.

    The processes of `world` share the work, and each gets all predictions; for `section` see `outcomes_of`.
    None for `temperature` means no calibration. With `flips`, the probabilities are means over flipped views;
    the `logits` are still those of the unflipped images, without a temperature, because a mean has none.

    Raises:
        UnreadableImageError: some images cannot be read; scores without them would be for another split.
    """
    views = len(FLIPS) if flips else 1
    logits = np.empty((len(split.files), views, len(classes)))
    faults = []
    outcomes = outcomes_of(
        backend,
        split.paths,
        batch_size=batch_size,
        workers=workers,
        task=f"scoring {split.name}",
        on_event=on_event,
        kept=kept,
        flips=flips,
        world=world,
        section=section,
    )
    for row, outcome in outcomes:
        if outcome.logits is None:
            faults.append(outcome.fault)
        else:
            logits[row] = outcome.logits
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        error = UnreadableImageError(f"{faults[0]}{more}; repair or remove it, then score again")
        raise world.common(error)
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
