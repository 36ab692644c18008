"""Predictions of single photographs: the public way into a trained model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.data.workers import worker_count
from skinlesion_cli.inference.backend import Backend, probabilities_of
from skinlesion_cli.inference.tta import FlipAveraged
from skinlesion_cli.models.model_info import Description

PT2_IS_UNSAFE = (
    "PyTorch's loader of .pt2 files can run code that the file holds, so no command loads one; "
    "use the .pth, or an .onnx"
)


@dataclass(frozen=True)
class Prediction:
    """The model's answer for one photograph."""

    image: str
    """The path, as it was given."""
    label: str
    """The most probable class."""
    confidence: float
    """Its probability, in [0, 1]."""
    probabilities: dict[str, float]
    """Probability of every class, in the model's order; they sum to 1."""
    distance: float | None = None
    """From the training images, as a multiple of the farthest that counts as familiar; None where the model
    does not know it."""

    @property
    def unfamiliar(self) -> bool:
        """Whether the picture is unlike the training images: the answer then means little."""
        return self.distance is not None and self.distance > 1

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` most probable classes with their probabilities, best first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:k]


@dataclass(frozen=True)
class Failure:
    """A file that could not be read as a photograph."""

    image: str
    error: str


class Predictor:
    """A trained model, ready to look at photographs. Make one with `load_predictor`."""

    def __init__(self, checkpoint: Description, backend: Backend, *, batch_size: int, workers: int):
        self.checkpoint = checkpoint
        """What its file says of the model."""
        self.backend = backend
        self.batch_size = batch_size
        self.workers = workers

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the model's outputs."""
        return self.checkpoint.classes

    def predict(self, image: str | Path) -> Prediction:
        """Look at one photograph.

        Raises:
            UnreadableImageError: it cannot be read.
        """
        (result,) = self.predict_many([image])
        if isinstance(result, Failure):
            raise UnreadableImageError(result.error)
        return result

    def predict_many(
        self, images: Sequence[str | Path], *, flips: bool = False, on_event: OnEvent = ignore
    ) -> Iterator[Prediction | Failure]:
        """Look at many photographs; yields an answer or a failure for each, in their order.

        Args:
            images: their paths.
            flips: whether each answer is the mean over flipped views (test-time augmentation).
            on_event: is told of the progress.
        """
        paths = [Path(image) for image in images]
        outcomes = probabilities_of(
            FlipAveraged(self.backend) if flips else self.backend,
            paths,
            batch_size=self.batch_size,
            workers=self.workers,
            task="predicting",
            on_event=on_event,
        )
        for image, outcome in zip(images, outcomes, strict=True):
            if outcome.probabilities is None:
                yield Failure(str(image), outcome.fault)
            else:
                best = int(np.argmax(outcome.probabilities))
                values = outcome.probabilities.tolist()
                by_class = dict(zip(self.classes, values, strict=True))
                limit, distance = self.checkpoint.distance_limit, outcome.distance
                relative = None if limit is None or distance is None else distance / limit
                yield Prediction(str(image), self.classes[best], values[best], by_class, relative)


def load_predictor(
    checkpoint: str | Path,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    img_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 32,
    num_workers: int | None = None,
) -> Predictor:
    """Load a checkpoint of any accepted kind, ready to predict.

    Args:
        checkpoint: the file, a .onnx of `skinlesion export` included; it is never unpickled.
        arch: the backbone, where the file does not say.
        classes: the classes in the order of the outputs, where the file does not say.
        img_size: side of the input, where the file does not say.
        device: auto, cpu, cuda or mps; a .onnx is for the CPU.
        precision: auto (fp32), fp32, bf16 or fp16; a .onnx has its own.
        batch_size: images a forward pass.
        num_workers: threads that read images.

    Raises:
        InputError: the file is missing, refused or damaged, or does not fit what is said of it.
    """
    path, workers = Path(checkpoint), worker_count(num_workers)
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        raise InputError(f"{path}: {PT2_IS_UNSAFE}")
    if suffix == ".onnx":
        # Here torch is not imported: that takes longer than the prediction.
        from skinlesion_cli.inference.onnx_backend import load_onnx

        description, exported = load_onnx(
            path, arch=arch, classes=classes, img_size=img_size, device=device, precision=precision
        )
        return Predictor(description, exported, batch_size=batch_size, workers=workers)
    from skinlesion_cli.inference.torch_backend import backend_of
    from skinlesion_cli.models.checkpoint import load_checkpoint
    from skinlesion_cli.models.device import choose_runtime

    loaded = load_checkpoint(path, arch=arch, classes=classes, img_size=img_size)
    backend = backend_of(loaded, choose_runtime(device, precision, training=False))
    return Predictor(loaded.description, backend, batch_size=batch_size, workers=workers)
