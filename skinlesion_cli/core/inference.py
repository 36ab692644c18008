"""Forward passes over files: the one loop behind validation, evaluation and prediction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.core.augment import normalize
from skinlesion_cli.core.errors import UnreadableImageError
from skinlesion_cli.core.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.core.folders import Split
from skinlesion_cli.core.loading import view_loader
from skinlesion_cli.core.predictions import Predictions
from skinlesion_cli.core.runtime import Runtime


@dataclass(frozen=True)
class Preprocessing:
    """What turns a photograph into the model's input."""

    img_size: int
    """Side of the centre crop, in pixels."""
    mean: tuple[float, ...]
    """Of each channel, in [0, 1]."""
    std: tuple[float, ...]
    """Of each channel, above 0."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file: its probabilities, or why it could not be read."""

    probabilities: NDArray[np.float64] | None
    """(classes,), sums to 1."""
    fault: str


def probabilities_of(
    model: nn.Module,
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    runtime: Runtime,
    *,
    batch_size: int,
    workers: int,
    task: str = "",
    on_event: OnEvent = ignore,
) -> Iterator[Outcome]:
    """Yield the outcome of each file, in their order; memory does not grow with their number.

    The model is put into evaluation mode and left there.
    """
    model.eval()
    loader = view_loader(
        paths,
        img_size=preprocessing.img_size,
        batch_size=batch_size,
        workers=workers,
        pin_memory=runtime.device.type == "cuda",
    )
    done = 0
    for batch in loader:
        logits = forward(model, batch.images, preprocessing, runtime)
        # In float64 a very small probability does not become 0, whose loss would be infinite.
        values = torch.softmax(logits.cpu().double(), dim=1).numpy()
        done += len(batch.faults)
        on_event(ImagesDone(task, done, len(paths)))
        for row, fault in zip(values, batch.faults, strict=True):
            yield Outcome(None if fault else row, fault)


def predict_split(
    model: nn.Module,
    split: Split,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    runtime: Runtime,
    *,
    batch_size: int,
    workers: int,
    on_event: OnEvent = ignore,
) -> Predictions:
    """Predict every image of a split.

    Args:
        model: on the runtime's device; it is left in evaluation mode.
        split: its classes are those of the model, in any order.
        classes: the model's, in the order of its outputs.
        preprocessing: the model's.
        runtime: where to compute.
        batch_size: images a forward pass.
        workers: processes that read images.
        on_event: is told of the progress.

    Raises:
        UnreadableImageError: some images cannot be read; scores without them would be another split's.
    """
    outcomes = list(
        probabilities_of(
            model,
            split.paths,
            preprocessing,
            runtime,
            batch_size=batch_size,
            workers=workers,
            task=f"scoring {split.name}",
            on_event=on_event,
        )
    )
    faults = [outcome.fault for outcome in outcomes if outcome.fault]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UnreadableImageError(f"{faults[0]}{more}; mend or remove it, then score again")
    probabilities = np.stack([one.probabilities for one in outcomes if one.probabilities is not None])
    index = np.array([list(classes).index(name) for name in split.classes])
    return Predictions(
        images=tuple(file.as_posix() for file in split.files),
        classes=tuple(classes),
        predicted=probabilities.argmax(axis=1),
        true=index[np.array(split.labels)],
        probabilities=probabilities,
    )


@torch.inference_mode()
def forward(
    model: nn.Module, images: torch.Tensor, preprocessing: Preprocessing, runtime: Runtime
) -> torch.Tensor:
    """Logits of a batch of bytes.

    Args:
        model: in evaluation mode, on the runtime's device.
        images: (n, 3, side, side), uint8.
        preprocessing: the model's.
        runtime: where to compute.

    Returns:
        (n, classes), float32, on the device.
    """
    inputs = normalize(runtime.put(images), preprocessing.mean, preprocessing.std)
    with runtime.autocast():
        logits: torch.Tensor = model(inputs)
    return logits.float()
