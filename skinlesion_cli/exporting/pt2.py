"""A checkpoint as .pt2, the format of torch.export. No command loads one: see docs/export.md."""

import json
from pathlib import Path

import torch
from torch import nn

from skinlesion_cli.exporting.graph import BytesToLogits, example, metadata
from skinlesion_cli.exporting.verified import Answers, Exported, Pixels, export_verified
from skinlesion_cli.inference.onnx_backend import INPUT
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.checkpoint import Checkpoint

METADATA = "skinlesion.json"
"""Name of the extra file that holds the metadata."""


def export(checkpoint: Checkpoint, target: Path, pixels: Pixels) -> Exported:
    """Write a checkpoint as .pt2, and verify it on the views `pixels`; raises as `export_verified`."""

    def write(model: nn.Module, path: Path) -> None:
        dynamic = {INPUT: {0: torch.export.Dim("n")}}
        graph = BytesToLogits(model, checkpoint).eval()
        program = torch.export.export(graph, (example(checkpoint),), dynamic_shapes=dynamic, strict=False)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        text = json.dumps(metadata(checkpoint))
        # Given a path, torch would name the folder inside the archive after the temporary file.
        with path.open("wb") as file:
            torch.export.save(program, file, extra_files={METADATA: text})

    return export_verified(checkpoint, target, pixels, write, _load)


def _load(path: Path) -> Answers:
    # Only ever the file that was just written: this loader can run code from the file.
    model = torch.export.load(path).module()
    return torch.inference_mode()(lambda images: softmax(model(torch.from_numpy(images)).numpy()))
