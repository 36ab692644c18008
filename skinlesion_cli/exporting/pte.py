"""A checkpoint as .pte, for ExecuTorch on phones: one image at a time, on the CPU with XNNPACK."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from skinlesion_cli.exporting.graph import BytesToLogits, example, metadata
from skinlesion_cli.exporting.verified import Answers, Exported, Pixels, export_verified, muted
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.checkpoint import Checkpoint

METADATA = "metadata"
"""Name of the method that returns the metadata, as JSON text."""


def export(checkpoint: Checkpoint, target: Path, pixels: Pixels) -> Exported:
    """Write a checkpoint as .pte, and verify it with ExecuTorch's own runtime; raises as `export_verified`.

    The method `forward` takes one view (1, 3, side, side), uint8. As with .onnx, its outputs are the logits,
    and the distance from the training images if the checkpoint has a detector.
    """

    def write(model: nn.Module, path: Path) -> None:
        with muted():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            graph = BytesToLogits(model, checkpoint, checkpoint.novelty).eval()
            # Phones process one photograph at a time, and a fixed size lets XNNPACK plan its memory.
            program = torch.export.export(graph, (example(checkpoint, 1),), strict=False)
            constants = {METADATA: json.dumps(metadata(checkpoint))}
            partitioner = [XnnpackPartitioner()]
            lowered = to_edge_transform_and_lower(
                program, partitioner=partitioner, constant_methods=constants
            )
            path.write_bytes(lowered.to_executorch().buffer)

    return export_verified(checkpoint, target, pixels, write, _load)


def _load(path: Path) -> Answers:
    with muted():
        from executorch.runtime import Runtime

        forward = Runtime.get().load_program(path).load_method("forward")

    def answers(images: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        logits = [forward.execute([torch.from_numpy(one[None])])[0].numpy().copy() for one in images]
        return softmax(np.concatenate(logits))

    return answers
