"""A checkpoint as .mlpackage, for Core ML. It runs on Apple devices only, so it is not verified here."""

import json
from pathlib import Path

import torch
from torch import nn

from skinlesion_cli.common.files import written_folder
from skinlesion_cli.exporting.graph import BytesToLogits, example, metadata
from skinlesion_cli.exporting.verified import Exported, Pixels, muted, one_line_failure
from skinlesion_cli.inference.onnx_backend import INPUT, OUTPUT
from skinlesion_cli.models.checkpoint import Checkpoint


class ImageToLogits(nn.Module):
    """Like `BytesToLogits`, for the floats in [0, 255] to which Core ML converts an image."""

    def __init__(self, inner: BytesToLogits):
        super().__init__()
        self.inner = inner

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Calibrated logits (1, classes) of an image (1, 3, side, side)."""
        outputs = self.inner(image)
        assert isinstance(outputs, torch.Tensor)
        return outputs


def export(checkpoint: Checkpoint, target: Path, _pixels: Pixels) -> Exported:
    """Write a checkpoint as .mlpackage, a folder, whole or not at all.

    The input is an RGB image of the model's size, the output the calibrated logits, in fp32.

    Raises:
        InputError: the weights do not fit the architecture.
        SkinLesionError: the model cannot be converted.
    """
    model = checkpoint.build().eval()
    with written_folder(target) as part, one_line_failure(checkpoint, target), muted():
        import coremltools

        image = example(checkpoint, 1).float()
        graph = ImageToLogits(BytesToLogits(model, checkpoint)).eval()
        program = torch.export.export(graph, (image,), strict=False).run_decompositions({})
        converted = coremltools.convert(
            program,
            inputs=[coremltools.ImageType(INPUT, image.shape, color_layout=coremltools.colorlayout.RGB)],
            outputs=[coremltools.TensorType(OUTPUT)],
            # The first target that supports this format.
            minimum_deployment_target=coremltools.target.iOS15,
            compute_precision=coremltools.precision.FLOAT32,
        )
        texts = {key: json.dumps(value) for key, value in metadata(checkpoint).items()}
        converted.user_defined_metadata.update(texts)
        converted.save(str(part))
        # Used only by ExecuTorch's debugger.
        (part / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    return Exported(target, size, 0, None)
