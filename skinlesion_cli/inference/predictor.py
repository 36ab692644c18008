"""Predictions of single images: the public interface to a trained model."""

import copy
import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.settings import checked
from skinlesion_cli.common.tables import Html, Tabular, html_bar, html_picture, html_table
from skinlesion_cli.common.text import probability_text
from skinlesion_cli.common.version import __version__
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.find_images import find_images
from skinlesion_cli.data.images import read_image, rgb_of
from skinlesion_cli.data.thumbnail import data_uri
from skinlesion_cli.data.workers import worker_count
from skinlesion_cli.inference.backend import Backend, Outcome, outcomes_of
from skinlesion_cli.inference.journal import Journal, hash_of_file
from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.metrics.prior import read_prior, retarget
from skinlesion_cli.models.model_info import EXPORTED, Description, model_in

if TYPE_CHECKING:
    import torch

ImageInput = str | Path | BinaryIO | Image.Image | NDArray[np.uint8]
"""A path, an open file, a PIL image, or an RGB array (height, width, 3) of uint8."""

SHOWN = 5
"""Classes that a notebook shows of a prediction."""


@dataclass(frozen=True)
class Prediction(Tabular):
    """The model's prediction for one image."""

    image: str
    """The path as it was given, or `image N`, by its index, for an image in memory."""
    label: str
    """The most probable class."""
    confidence: float
    """Its probability, in [0, 1]."""
    probabilities: dict[str, float]
    """Probability of every class, in the model's order; they sum to 1."""
    distance: float | None = None
    """Distance from the training images, as a multiple of the detector's limit; None without a detector."""
    original: dict[str, float] | None = None
    """The probabilities for the prior of training, if the others are for another one (see `with_prior`)."""

    @property
    def out_of_distribution(self) -> bool | None:
        """Whether the image is unlike the training images; None if the model has no detector."""
        return None if self.distance is None else self.distance > 1

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` most probable classes with their probabilities, best first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:k]

    def values(self) -> list[float | str]:
        """The prediction's columns in the CSV file of `predict`: probabilities, warning, distance."""
        known = self.distance is not None
        warning = ("false", "true")[bool(self.out_of_distribution)] if known else ""
        return [*self.probabilities.values(), warning, f"{self.distance:.6g}" if known else ""]

    def rows(self) -> list[dict[str, Any]]:
        """A row per class: `class` and `probability`, in the model's order."""
        return [{"class": name, "probability": one} for name, one in self.probabilities.items()]

    def _repr_html_(self) -> str:
        """The most probable classes as bars, and the picture if its file can still be read."""
        rows = [
            {"class": name, "probability": probability_text(one), "": html_bar(one)}
            for name, one in self.top(SHOWN)
        ]
        unlike = "; unlike the training images" if self.out_of_distribution else ""
        return _picture_of(self.image) + html_table(rows, self.image + unlike)

    def to_dict(self) -> dict[str, Any]:
        """The prediction as one item of the list that `predict --json` prints."""
        return {
            "image": self.image,
            "class": self.label,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
            "out_of_distribution": self.out_of_distribution,
            "distance": self.distance,
            **({} if self.original is None else {"original_probabilities": self.original}),
        }


def _picture_of(image: str) -> str:
    """A small picture of a file, or nothing; an image in memory has a name without suffix."""
    path = Path(image)
    try:
        if path.suffix and path.is_file():
            return html_picture(data_uri(read_image(path)), image)
    except (UnreadableImageError, OSError):
        pass
    return Html()


@dataclass(frozen=True)
class Failure:
    """An image that could not be read."""

    image: str
    error: str

    def to_dict(self) -> dict[str, Any]:
        """The failure as one item of the list that `predict --json` prints."""
        return {"image": self.image, "error": self.error}


class Predictor:
    """A trained model, ready to predict. Make one with `load_predictor`."""

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
        """The class prior (classes,) that it answers for; None for that of training."""
        self.trained_prior: list[float] = []
        """The class prior of training, (classes,); known where `prior` is another."""

    @property
    def members(self) -> "tuple[Predictor, ...]":
        """The models that it consists of."""
        return (self,)

    def with_prior(self, prior: str | Path | Mapping[str, float]) -> Self:
        """The same predictor, answering for another class prior: p'(i) ∝ p(i) q(i) / π(i).

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
        made_with = {
            "version": __version__,
            "models": [hash_of_file(one.file) for one in self.members if one.file],
            "preprocessing": [str(one.checkpoint.preprocessing) for one in self.members],
            "runtime": [str(getattr(one.backend, "runtime", "")) for one in self.members],
            "batch_size": self.batch_size,
            "tta": flips,
        }
        return Journal(output, made_with, resume=resume, part=part, on_event=on_event)

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
            journal: keeps what is computed, so that an interrupted command can be continued.
            world: the processes that share the work; each yields everything.
            member: which model of an ensemble this is, for the journal.

        Raises:
            InputError: one image instead of several, or something that is not an image.
        """
        images = listed(images, on_event)
        names = [image_name(index, image) for index, image in enumerate(images)]
        paths = [Path(name) for name in names]
        if journal is not None:
            names = [names[index] for index in journal.indices(len(names), self.batch_size)]
        outcomes = outcomes_of(
            self.backend,
            paths,
            batch_size=self.batch_size,
            workers=self.workers,
            task="predicting",
            on_event=on_event,
            kept=_InMemory(images, [str(path) for path in paths], self.backend),
            flips=flips,
            world=world,
            section=journal.section(f"model {member + 1}", paths, self.batch_size) if journal else None,
        )
        return (self._result(*pair) for pair in zip(names, outcomes, strict=True))

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


def listed(images: Iterable[ImageInput], on_event: OnEvent) -> list[ImageInput]:
    """The images of `predict_many` as a list."""
    if isinstance(images, str) and glob.has_magic(images):
        images = find_images([images], on_event)
    if is_single(images):
        raise InputError("predict_many takes a list of images, not a single one; call predict for that")
    return list(images)


def is_single(images: Any) -> bool:
    """Whether it is one image, and not several."""
    return (
        isinstance(images, str | Path | Image.Image)
        or hasattr(images, "read")
        or getattr(images, "ndim", 4) < 4
    )


def pixels_of(image: ImageInput, name: str) -> Image.Image:
    """An image as upright 8-bit RGB; UnreadableImageError, with its `name`, if it cannot be read."""
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, np.ndarray | Image.Image):
        return rgb_of(Image.fromarray(image) if isinstance(image, np.ndarray) else image, name)
    return read_image(Path(name), file=image)


def image_name(index: int, image: ImageInput) -> str:
    """The name of an image in results and messages: its path, or `image N` for one in memory or an open file.

    Raises:
        InputError: it is not an `ImageInput`.
    """
    if isinstance(image, str | Path):
        return str(image)
    is_known = isinstance(image, np.ndarray | Image.Image) or hasattr(image, "read")
    what = "" if is_known else f"of type {type(image).__name__}"
    if isinstance(image, np.ndarray) and (image.dtype != np.uint8 or image.shape[2:] != (3,)):
        what = f"an array {image.shape} of {image.dtype}"
    if what:
        raise InputError(f"image {index} is {what}; give a path, a PIL image or an array (h, w, 3) of uint8")
    return f"image {index}"


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
    """Load a checkpoint of any accepted kind, ready to predict.

    Args:
        checkpoint: the file, which may be an .onnx of `skinlesion export`; it is never unpickled. Or the
            folder of a run.
        arch: the backbone, if the file does not name it.
        classes: the classes in the order of the outputs, if the file does not name them.
        img_size: side of the input in pixels, if the file does not name it.
        device: auto, cpu, cuda, cuda:0, … or mps, or a torch.device; an .onnx runs on the CPU.
        precision: auto (fp32), fp32, bf16 or fp16; an .onnx has its own.
        batch_size: images per forward pass.
        num_workers: threads that read images.
        normalization: "imagenet", or "backbone" for timm's mean and std, if the file does not give them. The
            default is what timm says of the backbone, here and for the next four.
        mean: of the three channels, for pixels in [0, 1].
        std: likewise.
        interpolation: bilinear, bicubic, lanczos or nearest.
        crop_pct: side of the centre crop, relative to the shorter side of the resized image.
        fit: how an image becomes square: crop, pad or squash; crop, if neither the file nor this says it.
        ema: whether to take averaged weights (EMA), where the file holds them beside the last ones.

    Raises:
        InputError: the file is missing, refused or damaged, or disagrees with the other arguments.
    """
    path = model_in(Path(checkpoint))
    workers = worker_count(checked("num_workers", num_workers, origin=""))
    checked("batch_size", batch_size, origin="")
    known: dict[str, Any] = {"arch": arch, "classes": classes, "img_size": img_size, "ema": ema}
    known |= {"normalization": normalization, "mean": mean, "std": std}
    known |= {"interpolation": interpolation, "crop_pct": crop_pct, "fit": fit}
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        raise InputError(
            f"{path}: PyTorch's loader of .pt2 files can run code from the file, so no command loads one; "
            "use the .pth, or an .onnx"
        )
    if suffix in EXPORTED and suffix != ".onnx":
        raise InputError(f"{path}: of the exported models, only an .onnx runs here; use that, or the .pth")
    if suffix == ".onnx":
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
