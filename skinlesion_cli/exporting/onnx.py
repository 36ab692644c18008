"""Exporting a checkpoint for other runtimes: one file from pixels to logits, with the model's metadata."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.common.errors import SkinLesionError, one_line
from skinlesion_cli.common.extras import require_writer
from skinlesion_cli.common.files import EXPORT_MARK, written_whole
from skinlesion_cli.curation.synthetic import KINDS, draw_lesion
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.splits import evenly
from skinlesion_cli.inference.onnx_backend import DISTANCE, INPUT, OUTPUT, load_onnx
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.backbone import statistics_of
from skinlesion_cli.models.checkpoint import Checkpoint, versions
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.models.model_info import Preprocessing
from skinlesion_cli.models.ood import OodDetector

OPSET = 18
"""torch writes it without conversion, and every onnxruntime since 1.14 (2023) reads it."""
TOLERANCE = 1e-3
"""Maximum difference of a probability from PyTorch's; rounding errors are a thousand times smaller."""
BATCH = 8
PT2_METADATA = "skinlesion.json"
"""Name of the extra file in a .pt2 that holds the metadata."""
CHECKED_IMAGES, DRAWN_IMAGES = 32, 8
"""Images that the file is verified on: of the user's, or synthetic ones."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Exported:
    """An exported file that was verified."""

    path: Path
    size: int
    """In bytes."""
    images: int
    """Number of images that it was verified on."""
    largest_difference: float
    """Of any class's probability from PyTorch's."""

    def to_dict(self) -> dict[str, Any]:
        """The result as `export --json` prints it."""
        return {
            "file": str(self.path),
            "bytes": self.size,
            "checked_images": self.images,
            "largest_difference": self.largest_difference,
        }


class BytesToLogits(nn.Module):
    """A classifier that normalises its input, and with a detector also returns the distance."""

    mean: torch.Tensor
    std: torch.Tensor
    centre: torch.Tensor
    directions: torch.Tensor
    scale: torch.Tensor

    def __init__(self, model: nn.Module, checkpoint: Checkpoint, detector: OodDetector | None = None):
        super().__init__()
        self.model, self.temperature = model, checkpoint.temperature
        self.register_buffer("mean", torch.tensor(checkpoint.preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(checkpoint.preprocessing.std).view(1, 3, 1, 1))
        self.noise = None if detector is None else detector.noise
        self.levels = 0 if detector is None else detector.levels
        if detector is not None:
            self.register_buffer("centre", torch.from_numpy(detector.mean))
            self.register_buffer("directions", torch.from_numpy(detector.directions))
            self.register_buffer("scale", torch.from_numpy(detector.scale))

    def forward(self, image: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Calibrated logits (n, classes), and distances (n,), for uint8 views (n, 3, side, side)."""
        inputs = (image.float() / 255.0 - self.mean) / self.std
        if self.noise is None:
            return self.model(inputs) / self.temperature  # type: ignore[no-any-return]
        features, logits = statistics_of(self.model, inputs, self.levels)
        centred = (features - self.centre) / self.scale
        along = (centred @ self.directions).square().sum(dim=1)
        squared = centred.square().sum(dim=1) / self.noise - along
        return logits / self.temperature, (squared.clamp_min(0.0) / centred.shape[1]).sqrt()


def check_pixels(paths: Sequence[Path], preprocessing: Preprocessing) -> Pixels:
    """Views (n, 3, side, side) to verify a file on: evenly spaced images, or synthetic ones without any."""
    drawn = map(draw_lesion, list(KINDS)[:DRAWN_IMAGES], range(DRAWN_IMAGES))
    images = map(read_image, evenly(paths, CHECKED_IMAGES)) if paths else drawn
    return np.stack([view(image, preprocessing.img_size, preprocessing.resize) for image in images])


def export(checkpoint: Checkpoint, target: Path, pixels: Pixels) -> Exported:
    """Write a checkpoint as .onnx or .pt2, and verify its probabilities against PyTorch's.

    An .onnx also outputs the distance from the training images, if the checkpoint has a detector. The file is
    verified on the views `pixels` (n, 3, side, side).

    Raises:
        InputError: a package for the format is not installed, or the weights do not fit the architecture.
        SkinLesionError: the model cannot be exported, or the probabilities differ; no file is written then.
    """
    require_writer(target.suffix)
    model = checkpoint.build().eval()
    write, load = (_write_onnx, _load_onnx) if target.suffix == ".onnx" else (_write_pt2, _load_pt2)
    runtime = choose_runtime("cpu", "fp32", training=False)
    # First: a size that the model does not take is named here.
    backend = TorchBackend(model, checkpoint.preprocessing, runtime, frozen=True)
    expected = _answers(
        lambda images: softmax(backend.outputs(images).logits, checkpoint.temperature), pixels
    )
    with written_whole(target) as part:
        try:
            with quiet():
                write(model, checkpoint, part)
                answers = _answers(load(part), pixels)
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
        difference = float(np.abs(answers - expected).max())
        # Written so that a NaN is refused, too.
        if not difference <= TOLERANCE:
            raise SkinLesionError(
                f"{target} was not written: its probabilities differ from PyTorch's by {difference:.2g}, "
                f"more than {TOLERANCE:g}"
            )
    return Exported(target, target.stat().st_size, len(pixels), difference)


def _first_cause(error: BaseException) -> BaseException:
    """The error at the bottom: those above it say in which of the exporter's steps it came up."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"format": EXPORT_MARK, **checkpoint.plain(), "versions": versions(), "precision": "fp32"}


def _write_onnx(model: nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    import onnx

    program = torch.onnx.export(
        BytesToLogits(model, checkpoint, checkpoint.novelty).eval(),
        (_example(checkpoint),),
        input_names=[INPUT],
        output_names=[OUTPUT] if checkpoint.novelty is None else [OUTPUT, DISTANCE],
        dynamic_shapes={INPUT: {0: torch.export.Dim("n")}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    # The exporter records for each node the code that made it, with file names of this machine.
    for node in proto.graph.node:
        del node.metadata_props[:]
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        del value.metadata_props[:]
    entries = {key: json.dumps(value) for key, value in _metadata(checkpoint).items()}
    onnx.helper.set_model_props(proto, entries)
    onnx.save(proto, str(path))


def _write_pt2(model: nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    dynamic = {INPUT: {0: torch.export.Dim("n")}}
    graph = BytesToLogits(model, checkpoint).eval()
    program = torch.export.export(graph, (_example(checkpoint),), dynamic_shapes=dynamic, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    text = json.dumps(_metadata(checkpoint))
    # Given a path, torch would name the folder inside the archive after the temporary file.
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={PT2_METADATA: text})


def _example(checkpoint: Checkpoint) -> torch.Tensor:
    # Two images: from one, the exporter would conclude that the batch size is always 1.
    side = checkpoint.preprocessing.img_size
    return torch.zeros(2, 3, side, side, dtype=torch.uint8)


def _load_onnx(path: Path) -> Callable[[Pixels], Floats]:
    description, backend = load_onnx(path)
    return lambda pixels: softmax(backend.outputs(pixels).logits, description.temperature)


def _load_pt2(path: Path) -> Callable[[Pixels], Floats]:
    # Only ever the file that was just written: this loader can run code from the file.
    model = torch.export.load(path).module()
    return torch.inference_mode()(lambda images: softmax(model(torch.from_numpy(images)).numpy()))


def _answers(probabilities: Callable[[Pixels], Floats], pixels: Pixels) -> Floats:
    # The first alone, then batches: the file must take any batch size.
    batches = [pixels[:1], *(pixels[start : start + BATCH] for start in range(1, len(pixels), BATCH))]
    return np.concatenate([probabilities(np.ascontiguousarray(batch)) for batch in batches])


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
