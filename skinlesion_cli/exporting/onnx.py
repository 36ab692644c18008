"""A checkpoint as .onnx, with the distance from the training images and class-activation maps as outputs."""

import dataclasses
import json
from pathlib import Path

import torch
from torch import nn

from skinlesion_cli.common.errors import SkinLesionError
from skinlesion_cli.exporting.class_maps import ClassMapper, is_exact, mapper_of
from skinlesion_cli.exporting.graph import BytesToLogits, example, metadata
from skinlesion_cli.exporting.verified import Answers, Exported, Pixels, export_verified
from skinlesion_cli.inference.onnx_backend import CAM, DISTANCE, INPUT, OUTPUT, OnnxBackend, load_onnx
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.checkpoint import Checkpoint

OPSET = 18
"""torch writes it without conversion, and every ONNX Runtime since 1.14 (2023) reads it."""


def export(checkpoint: Checkpoint, target: Path, pixels: Pixels, *, cam: bool = False) -> Exported:
    """Write a checkpoint as .onnx, and verify it on the views `pixels` (n, 3, side, side).

    It also outputs the distance from the training images, if the checkpoint has a detector, and with `cam`
    the class-activation map of each class.

    Raises:
        InputError: with `cam`, the maps would not be exact; see also `export_verified`.
        SkinLesionError: see `export_verified`.
    """
    mappers: list[ClassMapper] = []

    def write(model: nn.Module, path: Path) -> None:
        if cam:
            mappers.append(mapper_of(model, checkpoint.arch, checkpoint.preprocessing.img_size))
        _write(model, checkpoint, path, mappers[0] if cam else None)

    def load(path: Path) -> Answers:
        description, backend = load_onnx(path)
        if cam:
            _require_exact(backend, pixels, mappers[0])
        return lambda images: softmax(backend.outputs(images).logits, description.temperature)

    exported = export_verified(checkpoint, target, pixels, write, load)
    return dataclasses.replace(exported, cam=_plain(mappers[0])) if cam else exported


def _write(model: nn.Module, checkpoint: Checkpoint, path: Path, mapper: ClassMapper | None) -> None:
    import onnx

    names = [OUTPUT, *([DISTANCE] if checkpoint.novelty else []), *([CAM] if mapper else [])]
    program = torch.onnx.export(
        BytesToLogits(model, checkpoint, checkpoint.novelty, mapper).eval(),
        (example(checkpoint),),
        input_names=[INPUT],
        output_names=names,
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
    known = metadata(checkpoint) | {"cam": None if mapper is None else _plain(mapper)}
    onnx.helper.set_model_props(proto, {key: json.dumps(value) for key, value in known.items()})
    onnx.save(proto, str(path))


def _plain(mapper: ClassMapper) -> dict[str, object]:
    return {"layer": mapper.layer, "grid": list(mapper.grid)}


def _require_exact(backend: OnnxBackend, pixels: Pixels, mapper: ClassMapper) -> None:
    found = backend.outputs(pixels)
    assert found.maps is not None
    if not is_exact(found.maps, found.logits, mapper.bias.numpy()):
        raise SkinLesionError(
            f"the class-activation maps of {mapper.layer} do not add up to the logits: leave out --cam"
        )
