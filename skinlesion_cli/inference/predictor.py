"""Predictions of single images: the public interface to a trained model."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.settings import checked
from skinlesion_cli.common.version import __version__
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.workers import worker_count
from skinlesion_cli.inference.backend import Backend, Outcome, outcomes_of
from skinlesion_cli.inference.inputs import ImageInput, image_name, listed, pixels_of
from skinlesion_cli.inference.journal import Journal, hash_of_file
from skinlesion_cli.inference.prediction import Failure, Prediction
from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.metrics.prior import read_prior, retarget
from skinlesion_cli.models.model_info import Description, model_in, refuse_unloadable

if TYPE_CHECKING:
    import torch


class Predictor:
    """A trained model, ready to predict. Create it with `load_predictor`."""

    def __init__(
        self,
        checkpoint: Description,
        backend: Backend,
        *,
        batch_size: int,
        workers: int,
        file: Path | None = None,
    ):
        self.checkpoint, self.file = checkpoint, file
        """The model's metadata, and the file that it was loaded from."""
        self.backend, self.batch_size, self.workers = backend, batch_size, workers
        self.prior: Floats | None = None
        """The class prior (classes,) that its probabilities assume; None for the training prior."""
        self.trained_prior: list[float] = []
        """The class prior of training, (classes,); known if `prior` is another one."""

    @property
    def members(self) -> "tuple[Predictor, ...]":
        """The models that it consists of."""
        return (self,)

    def with_prior(self, prior: str | Path | Mapping[str, float]) -> Self:
        """The same predictor, adapted to another class prior: p'(i) ∝ p(i) q(i) / π(i).

        Args:
            prior: q: "uniform", the share of each class, or a CSV file with the columns class,share. π is the
                effective prior of training.

        Raises:
            InputError: the prior is invalid, or the model's file does not say how it was trained.
        """
        made = copy.copy(self)
        made.prior, made.trained_prior = read_prior(prior, self.classes), self.checkpoint.trained_prior()
        return made

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the model's outputs."""
        return self.checkpoint.classes

    @property
    def temperature(self) -> float | None:
        """What the logits are divided by; None if none was fitted."""
        return None if self.checkpoint.temperature == 1.0 else self.checkpoint.temperature

    def journal(
        self,
        output: Path,
        *,
        flips: bool = False,
        resume: bool = False,
        part: tuple[int, int] = (1, 1),
        on_event: OnEvent = ignore,
    ) -> Journal:
        """The journal of a pass over many images; see `Journal` for the arguments and errors."""
        runtimes = [str(getattr(one.backend, "runtime", "")) for one in self.members]
        made_with = self.made_with(flips=flips) | {"runtime": runtimes}
        return Journal(output, made_with, resume=resume, part=part, on_event=on_event)

    def made_with(self, *, flips: bool = False) -> dict[str, Any]:
        """What its results depend on, apart from the images and the device; JSON-ready."""
        return {
            "version": __version__,
            "models": [hash_of_file(one.file) for one in self.members if one.file],
            "preprocessing": [str(one.checkpoint.preprocessing) for one in self.members],
            "batch_size": self.batch_size,
            "tta": flips,
        }

    def predict(self, image: ImageInput) -> Prediction:
        """Predict one image.

        Raises:
            InputError: it is not an `ImageInput`.
            UnreadableImageError: it cannot be read.
        """
        (result,) = self.predict_many([image])
        if isinstance(result, Failure):
            raise UnreadableImageError(result.error)
        return result

    def predict_many(
        self,
        images: Iterable[ImageInput],
        *,
        flips: bool = False,
        on_event: OnEvent = ignore,
        journal: Journal | None = None,
        world: World = ALONE,
        member: int = 0,
    ) -> Iterator[Prediction | Failure]:
        """Predict many images; yields a prediction or a failure for each, in order.

        Args:
            images: paths, open files, PIL images and arrays (height, width, 3) of uint8; or a glob such as
                "photos/*.jpg".
            flips: whether to average over flipped views (test-time augmentation).
            on_event: receives progress events.
            journal: keeps the results, so that an interrupted command can be resumed.
            world: the processes that share the work; each yields everything.
            member: which model of an ensemble this is, for the journal.

        Raises:
            InputError: one image instead of several, or something that is not an image.
        """
        images = listed(images, on_event)
        names = [image_name(index, image) for index, image in enumerate(images)]
        paths = [Path(name) for name in names]
        outcomes = outcomes_of(
            self.backend,
            paths,
            batch_size=self.batch_size,
            workers=self.workers,
            task="predicting",
            on_event=on_event,
            kept=_InMemory(images, names, self.backend),
            flips=flips,
            world=world,
            section=journal.section(f"model {member + 1}", paths, self.batch_size) if journal else None,
        )
        return (self._result(names[index], outcome) for index, outcome in outcomes)

    def _result(self, name: str, outcome: Outcome) -> Prediction | Failure:
        if outcome.logits is None:
            return Failure(name, outcome.fault)
        probabilities = softmax(outcome.logits, self.temperature).mean(axis=0)
        limit, distance = self.checkpoint.distance_limit, outcome.distance
        relative = None if limit is None or distance is None else distance / limit
        if self.prior is None:
            return self._prediction(name, probabilities, relative)
        moved = retarget(probabilities[None], self.trained_prior, self.prior)[0]
        return self._prediction(name, moved, relative, probabilities)

    def _prediction(
        self, name: str, probabilities: Floats, distance: float | None, original: Floats | None = None
    ) -> Prediction:
        by_class = dict(zip(self.classes, probabilities.tolist(), strict=True))
        before = None if original is None else dict(zip(self.classes, original.tolist(), strict=True))
        best = self.classes[probabilities.argmax()]
        return Prediction(name, best, by_class[best], by_class, distance, before)


@dataclass(frozen=True)
class _InMemory:
    """Images as `KeptViews`: those in memory are views that need not be read from a file."""

    images: Sequence[ImageInput]
    names: Sequence[str]
    backend: Backend

    def get(self, index: int) -> NDArray[np.uint8] | None:
        image = self.images[index]
        if isinstance(image, str | Path):
            return None
        picture = pixels_of(image, self.names[index])
        return view(picture, self.backend.img_size, self.backend.resize)

    def put(self, index: int, view: NDArray[np.uint8]) -> None:
        pass


def load_predictor(
    checkpoint: str | Path,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    img_size: int | None = None,
    device: "str | torch.device" = "auto",
    precision: str = "auto",
    batch_size: int = 32,
    num_workers: int | None = None,
    normalization: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
    crop_pct: float | None = None,
    fit: str | None = None,
    ema: bool | None = None,
) -> Predictor:
    """Load a checkpoint in any supported format, ready to predict.

    Args:
        checkpoint: the file, which may be an .onnx of `skinlesion export`, or the folder of a run. It is
            never unpickled.
        arch: the backbone, if the file does not name it.
        classes: the classes in the order of the outputs, if the file does not name them.
        img_size: side of the input in pixels, if the file does not give it.
        device: auto, cpu, cuda, cuda:0, … or mps, or a torch.device; an .onnx runs on the CPU.
        precision: auto (fp32), fp32, bf16 or fp16; an .onnx has its own.
        batch_size: images per forward pass.
        num_workers: threads that read images.
        normalization: "imagenet", or "backbone" for timm's mean and std, if the file does not give them. The
            default is what timm lists for the backbone, here and for the next four arguments.
        mean: of the three channels, for pixels in [0, 1].
        std: likewise.
        interpolation: bilinear, bicubic, lanczos or nearest.
        crop_pct: side of the centre crop, relative to the shorter side of the resized image.
        fit: how an image becomes square: crop, pad or squash; by default what the file says, or else crop.
        ema: whether to take the averaged weights (EMA), if the file contains both averaged and last ones.

    Raises:
        InputError: the file is missing, refused or damaged, or disagrees with the other arguments.
    """
    path = model_in(Path(checkpoint))
    workers = worker_count(checked("num_workers", num_workers, origin=""))
    checked("batch_size", batch_size, origin="")
    known: dict[str, Any] = {"arch": arch, "classes": classes, "img_size": img_size, "ema": ema}
    known |= {"normalization": normalization, "mean": mean, "std": std}
    known |= {"interpolation": interpolation, "crop_pct": crop_pct, "fit": fit}
    refuse_unloadable(path)
    if path.suffix.lower() == ".onnx":
        # No torch here: its import takes longer than the prediction.
        from skinlesion_cli.inference.onnx_backend import load_onnx

        parts = load_onnx(path, device=str(device), precision=precision, **known)
        return Predictor(*parts, batch_size=batch_size, workers=workers, file=path)
    from skinlesion_cli.inference.torch_backend import backend_of
    from skinlesion_cli.models.checkpoint import load_checkpoint
    from skinlesion_cli.models.device import choose_runtime

    loaded = load_checkpoint(path, **known)
    backend = backend_of(loaded, choose_runtime(device, precision, training=False))
    return Predictor(loaded.description, backend, batch_size=batch_size, workers=workers, file=path)
