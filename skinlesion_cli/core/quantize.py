"""Static 8-bit quantisation of an exported model, calibrated on training images."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinlesion_cli.core.errors import SkinLesionError, UnreadableImageError
from skinlesion_cli.core.export import quiet
from skinlesion_cli.core.files import written_whole
from skinlesion_cli.core.onnx_backend import INPUT
from skinlesion_cli.core.views import viewed_batches

CALIBRATION_IMAGES = 200
"""Enough for the ranges of all activations to settle; more only takes longer."""
BATCH = 8
OPERATORS = ["Conv", "Gemm", "MatMul"]
"""Where nearly all of the arithmetic is. The rest, softmax among it, keeps its precision."""


def quantize(source: Path, target: Path, images: Sequence[Path], *, img_size: int, workers: int) -> None:
    """Write `source` with 8-bit weights and activations (QDQ), one scale a channel of the weights.

    Args:
        source: an .onnx that `export` wrote.
        target: the file to write, whole or not at all.
        images: training images that show the ranges of the activations.
        img_size: side of the model's images, in pixels.
        workers: threads that read images.

    Raises:
        UnreadableImageError: an image cannot be read.
        SkinLesionError: onnxruntime cannot quantise the model.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, written_whole(target) as part:
        prepared = Path(folder, "prepared.onnx")
        try:
            with quiet():
                # Symbolic shapes serve only models whose sizes are not known.
                quant_pre_process(source, prepared, skip_symbolic_shape=True)
                quantize_static(
                    prepared,
                    part,
                    _Calibration(images, img_size, workers),
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=OPERATORS,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                )
            _copy_metadata(source, part)
        except (SkinLesionError, OSError):
            raise
        # As with the exporter: many types, one meaning.
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise SkinLesionError(f"onnxruntime cannot quantise the model: {reason[:200]}") from error


class _Calibration:
    """What onnxruntime asks for batches until there are none."""

    def __init__(self, images: Sequence[Path], img_size: int, workers: int):
        self._batches = self._read(images, img_size, workers)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by the input's name; None after the last."""
        return next(self._batches, None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._batches

    @staticmethod
    def _read(images: Sequence[Path], img_size: int, workers: int) -> Iterator[dict[str, Any]]:
        for batch in viewed_batches(images, img_size=img_size, batch_size=BATCH, workers=workers):
            fault = next(filter(None, batch.faults), "")
            if fault:
                raise UnreadableImageError(fault)
            yield {INPUT: batch.images}


def evenly(paths: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of the paths, spread evenly over all of them."""
    if len(paths) <= most:
        return list(paths)
    return [paths[index] for index in np.linspace(0, len(paths) - 1, most).round().astype(int)]


def _copy_metadata(source: Path, target: Path) -> None:
    import onnx

    entries = {one.key: one.value for one in onnx.load(str(source)).metadata_props}
    quantized = onnx.load(str(target))
    onnx.helper.set_model_props(quantized, entries | {"precision": json.dumps("int8")})
    onnx.save(quantized, str(target))
