"""A checkpoint as one file for other runtimes: pixels in, logits out, and all that it means beside it."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.common.errors import SkinLesionError
from skinlesion_cli.common.extras import require_writer
from skinlesion_cli.common.files import written_whole
from skinlesion_cli.inference.backend import Backend
from skinlesion_cli.inference.onnx_backend import DISTANCE, FORMAT, INPUT, OUTPUT, load_onnx
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.backbone import features_of
from skinlesion_cli.models.checkpoint import Checkpoint, versions
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.models.model_info import Preprocessing
from skinlesion_cli.models.ood import Novelty

OPSET = 18
"""What torch writes without converting, and every onnxruntime since 1.14 (2023) reads."""
TOLERANCE = 1e-3
"""Largest difference in probability between the file and torch; rounding stays a thousand times below."""
BATCH = 8
PT2_METADATA = "skinlesion.json"
"""Name of the extra file of a .pt2 that holds what an .onnx has in its metadata."""

Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked."""

    path: Path
    size: int
    """In bytes."""
    images: int
    """How many it was checked on."""
    largest_difference: float
    """Of any class's probability from torch's."""


class BytesToLogits(nn.Module):
    """A classifier that normalises its pixels itself."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: nn.Module, preprocessing: Preprocessing, temperature: float):
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Calibrated logits (n, classes), float32, of pixels (n, 3, side, side), uint8."""
        logits: torch.Tensor = self.model(self.inputs(image)) / self.temperature
        return logits

    def inputs(self, image: torch.Tensor) -> torch.Tensor:
        """The model's input, float32, of pixels (n, 3, side, side), uint8."""
        return (image.float() / 255.0 - self.mean) / self.std


class BytesToLogitsAndDistance(BytesToLogits):
    """The same, with the distance from the training images as a second output."""

    centre: torch.Tensor
    directions: torch.Tensor

    def __init__(self, model: nn.Module, preprocessing: Preprocessing, temperature: float, novelty: Novelty):
        super().__init__(model, preprocessing, temperature)
        self.register_buffer("centre", torch.from_numpy(novelty.mean))
        self.register_buffer("directions", torch.from_numpy(novelty.directions))
        self.noise = novelty.noise

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Logits (n, classes) and distances (n,) as `Novelty.distances` defines them, float32."""
        features, logits = features_of(self.model, self.inputs(image))
        centred = features - self.centre
        along = (centred @ self.directions).square().sum(dim=1)
        squared = centred.square().sum(dim=1) / self.noise - along
        return logits / self.temperature, (squared.clamp_min(0.0) / len(self.centre)).sqrt()


def export(checkpoint: Checkpoint, target: Path, pixels: Pixels) -> Exported:
    """Write a checkpoint as .onnx or .pt2 and hold the file's answers against torch's.

    An .onnx also gives the distance from the training images, where the checkpoint knows it.

    Args:
        checkpoint: the model.
        target: the file; its suffix says which kind.
        pixels: (n, 3, side, side): images that both are to answer.

    Raises:
        InputError: what writes the kind is not installed, or the weights do not fit the architecture.
        SkinLesionError: the model cannot be written so, or the file's answers differ; no file is left then.
    """
    require_writer(target.suffix)
    model = checkpoint.build().eval()
    write, load = (_write_onnx, _load_onnx) if target.suffix == ".onnx" else (_write_pt2, _load_pt2)
    with written_whole(target) as part:
        with _named_faults(checkpoint.arch, target.suffix):
            write(model, checkpoint, part)
            answers = _answers(load(part), pixels)
        runtime = choose_runtime("cpu", "fp32", training=False)
        torch_backend = TorchBackend(model, checkpoint.preprocessing, runtime)
        expected = _answers(_probabilities(torch_backend, checkpoint.temperature), pixels)
        difference = float(np.abs(answers - expected).max())
        # Written so that a NaN is refused, too.
        if not difference <= TOLERANCE:
            raise SkinLesionError(
                f"{target} was not written: its probabilities differ from torch's by {difference:.2g}, "
                f"more than {TOLERANCE:g}"
            )
    return Exported(target, target.stat().st_size, len(pixels), difference)


def metadata(checkpoint: Checkpoint, **extra: Any) -> dict[str, Any]:
    """What an exported file says of itself, as plain data; `extra` entries go beside it."""
    return {"format": FORMAT, **checkpoint.plain(), "versions": versions()} | extra


def _write_onnx(model: nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    import onnx

    novelty, common = checkpoint.novelty, (model, checkpoint.preprocessing, checkpoint.temperature)
    graph = BytesToLogits(*common) if novelty is None else BytesToLogitsAndDistance(*common, novelty)
    with quiet():
        program = torch.onnx.export(
            graph.eval(),
            (_example(checkpoint),),
            input_names=[INPUT],
            output_names=[OUTPUT] if novelty is None else [OUTPUT, DISTANCE],
            dynamic_shapes={INPUT: {0: torch.export.Dim("n")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    # The exporter notes for each node the lines of code that made it, with their paths on this machine.
    for node in proto.graph.node:
        del node.metadata_props[:]
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        del value.metadata_props[:]
    entries = metadata(checkpoint, precision="fp32")
    onnx.helper.set_model_props(proto, {key: json.dumps(value) for key, value in entries.items()})
    onnx.save(proto, str(path))


def _write_pt2(model: nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    with quiet():
        dynamic = {INPUT: {0: torch.export.Dim("n")}}
        graph = BytesToLogits(model, checkpoint.preprocessing, checkpoint.temperature).eval()
        program = torch.export.export(graph, (_example(checkpoint),), dynamic_shapes=dynamic, strict=False)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        text = json.dumps(metadata(checkpoint, precision="fp32"))
        # Given a path, torch would name the folder inside the archive after the passing file.
        with path.open("wb") as file:
            torch.export.save(program, file, extra_files={PT2_METADATA: text})


def _example(checkpoint: Checkpoint) -> torch.Tensor:
    # Two images: of a single one the exporter would conclude that there is always one.
    side = checkpoint.preprocessing.img_size
    return torch.zeros(2, 3, side, side, dtype=torch.uint8)


def _load_onnx(path: Path) -> Callable[[Pixels], Probabilities]:
    description, backend = load_onnx(path)
    return _probabilities(backend, description.temperature)


def _probabilities(backend: Backend, temperature: float) -> Callable[[Pixels], Probabilities]:
    return lambda pixels: softmax(backend.outputs(pixels).logits, temperature)


def _load_pt2(path: Path) -> Callable[[Pixels], Probabilities]:
    # Only ever the file that was written a moment ago: this loader can run what a file holds.
    with quiet():
        model = torch.export.load(path).module()

    @torch.inference_mode()
    def probabilities(images: Pixels) -> Probabilities:
        return softmax(model(torch.from_numpy(images)).numpy())

    return probabilities


def _answers(probabilities: Callable[[Pixels], Probabilities], pixels: Pixels) -> Probabilities:
    # The first alone, then batches: the file must take any number.
    batches = [pixels[:1], *(pixels[start : start + BATCH] for start in range(1, len(pixels), BATCH))]
    return np.concatenate([probabilities(np.ascontiguousarray(batch)) for batch in batches])


@contextmanager
def _named_faults(arch: str, suffix: str) -> Iterator[None]:
    try:
        yield
    except (SkinLesionError, OSError):
        raise
    # What torch's exporter cannot trace or translate, it tells by dozens of types and hundreds of lines.
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise SkinLesionError(
            f"{arch} cannot be written as {suffix} by torch {torch.__version__}: "
            f"{reason[:200] or type(error).__name__}"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' own warnings and log lines from the terminal: no user can act on them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
