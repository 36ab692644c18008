"""Writing an exported model completely or not at all, after verification against PyTorch."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.common.errors import SkinLesionError, one_line
from skinlesion_cli.common.files import written_whole
from skinlesion_cli.curation.synthetic import KINDS, draw_lesion
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.splits import evenly
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.checkpoint import Checkpoint
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.models.model_info import Preprocessing

TOLERANCE = 1e-3
"""Maximum difference of a probability from PyTorch's; rounding errors are a thousand times smaller."""
BATCH = 8
CHECKED_IMAGES, DRAWN_IMAGES = 32, 8
"""Number of images that the file is verified on: of the user's, or synthetic ones."""

Pixels = NDArray[np.uint8]
Answers = Callable[[Pixels], Floats]
"""Probabilities (n, classes) of views (n, 3, side, side)."""


@dataclass(frozen=True)
class Exported:
    """An exported file that was verified."""

    path: Path
    size: int
    """In bytes."""
    images: int
    """Number of images that it was verified on."""
    largest_difference: float | None
    """Of any class probability from PyTorch's; None if the format cannot be run on this machine."""
    cam: dict[str, Any] | None = None
    """Layer and grid of the class-activation maps in it; None without."""

    def to_dict(self) -> dict[str, Any]:
        """The result as `export --json` prints it."""
        return {
            "file": str(self.path),
            "bytes": self.size,
            "checked_images": self.images,
            "largest_difference": self.largest_difference,
            "cam": self.cam,
        }


def check_pixels(paths: Sequence[Path], preprocessing: Preprocessing) -> Pixels:
    """Views (n, 3, side, side) to verify a file on: evenly spaced images, or synthetic ones without any."""
    drawn = map(draw_lesion, list(KINDS)[:DRAWN_IMAGES], range(DRAWN_IMAGES))
    images = map(read_image, evenly(paths, CHECKED_IMAGES)) if paths else drawn
    return np.stack([view(image, preprocessing.img_size, preprocessing.resize) for image in images])


def export_verified(
    checkpoint: Checkpoint,
    target: Path,
    pixels: Pixels,
    write: Callable[[nn.Module, Path], None],
    load: Callable[[Path], Answers],
) -> Exported:
    """Write a checkpoint with `write`, load the file with `load`, and verify it on `pixels`.

    Raises:
        InputError: the weights do not fit the architecture.
        SkinLesionError: the model cannot be exported, or the probabilities differ; no file is written then.
    """
    model = checkpoint.build().eval()
    runtime = choose_runtime("cpu", "fp32", training=False)
    # First, because it reports a size that the model does not take.
    backend = TorchBackend(model, checkpoint.preprocessing, runtime, frozen=True)
    expected = _answers(
        lambda images: softmax(backend.outputs(images).logits, checkpoint.temperature), pixels
    )
    with written_whole(target) as part:
        with one_line_failure(checkpoint, target):
            write(model, part)
            answers = _answers(load(part), pixels)
        difference = checked_difference(answers, expected, target, "its probabilities differ from PyTorch's")
    return Exported(target, target.stat().st_size, len(pixels), difference)


def checked_difference(answers: Floats, expected: Floats, target: Path, text: str) -> float:
    """The largest difference of a probability; a SkinLesionError, with `text`, above the tolerance."""
    difference = float(np.abs(answers - expected).max())
    # Written so that a NaN is refused, too.
    if not difference <= TOLERANCE:
        raise SkinLesionError(
            f"{target} was not written: {text} by {difference:.2g}, more than {TOLERANCE:g}"
        )
    return difference


def _first_cause(error: BaseException) -> BaseException:
    """The innermost error: those around it only say in which step of the exporter it occurred."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _answers(probabilities: Answers, pixels: Pixels) -> Floats:
    # The first image alone, then batches: the file must accept any batch size.
    batches = [pixels[:1], *(pixels[start : start + BATCH] for start in range(1, len(pixels), BATCH))]
    return np.concatenate([probabilities(np.ascontiguousarray(batch)) for batch in batches])


@contextmanager
def one_line_failure(checkpoint: Checkpoint, target: Path) -> Iterator[None]:
    """Inside, an exporter is quiet, and its failure becomes a SkinLesionError that names a way out."""
    try:
        with quiet():
            yield
    except (SkinLesionError, OSError):
        raise
    # torch's exporter raises dozens of types, with messages of hundreds of lines.
    except Exception as error:
        what = f"torch {torch.__version__} cannot export {checkpoint.arch} as {target.suffix}"
        other = ".pt2" if target.suffix == ".onnx" else ".onnx"
        raise SkinLesionError(
            f"{what}: {one_line(_first_cause(error))}; every command takes the .pth itself; "
            f"for other programs try --to FILE{other}, or another backbone"
        ) from error


@contextmanager
def muted() -> Iterator[None]:
    """Discard what is written to the process's output streams: C++ libraries do not use Python's loggers."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        for number, stream in zip((1, 2), kept, strict=True):
            os.dup2(stream, number)
            os.close(stream)
        os.close(nowhere)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the exporters' warnings and log messages, which no user can act on."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
