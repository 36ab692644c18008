"""Static 8-bit quantisation of an exported model, calibrated on training images."""

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import SkinLesionError, UnreadableImageError, one_line
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.files import written_whole
from skinlesion_cli.data.eval_views import viewed_batches
from skinlesion_cli.data.splits import Split, evenly, require_classes
from skinlesion_cli.exporting.onnx import Exported, Pixels, export, quiet
from skinlesion_cli.inference.onnx_backend import INPUT
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.scoring import predict_and_evaluate
from skinlesion_cli.models.checkpoint import Checkpoint

CALIBRATION_IMAGES = 200
"""Enough for the ranges of all activations to settle; more only takes longer."""
BATCH = 8
OPERATORS = ["Conv", "Gemm", "MatMul"]
"""Where nearly all of the arithmetic is. The rest, softmax among it, keeps its precision."""


@dataclass(frozen=True)
class Quantized:
    """A quantised model that was written, and what it costs."""

    full: Exported
    """The model that it was made from; its file is gone."""
    size: int
    """In bytes."""
    calibrated: int
    """Images that it was calibrated on."""
    scores: dict[str, dict[str, Any]]
    """The evaluation documents on validation, of `fp32` and of `int8`."""


def export_int8(
    checkpoint: Checkpoint,
    target: Path,
    pixels: Pixels,
    train: Split,
    val: Split,
    *,
    workers: int,
    on_event: OnEvent = ignore,
) -> Quantized:
    """Write a checkpoint as a quantised .onnx, and score it beside the one in fp32.

    Args:
        checkpoint: the model.
        target: the .onnx to write, whole or not at all.
        pixels: (n, 3, side, side): images that the fp32 model is held against torch on.
        train: the split to calibrate on.
        val: the split to score on.
        workers: threads that read images.
        on_event: is told of the progress.

    Raises:
        InputError: the classes of a split are not the model's; see also `export`.
        SkinLesionError: an image cannot be read, or the model cannot be written so.
    """
    for split in (train, val):
        require_classes(split, checkpoint.classes, "the checkpoint")
    side = checkpoint.preprocessing.img_size
    images = evenly(train.paths, CALIBRATION_IMAGES)
    with tempfile.TemporaryDirectory() as folder, written_whole(target) as part:
        # 8 bits are too few for a distance: small differences of large numbers.
        plain = dataclasses.replace(checkpoint, novelty=None, distance_limit=None)
        full = export(plain, Path(folder, "fp32.onnx"), pixels)
        quantize(full.path, part, images, img_size=side, workers=workers)
        scores = {}
        for name, path in (("fp32", full.path), ("int8", part)):
            predictor = load_predictor(path, num_workers=workers)
            _, _, scores[name] = predict_and_evaluate(predictor, val, on_event)
    return Quantized(full, target.stat().st_size, len(images), scores)


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
            raise SkinLesionError(f"onnxruntime cannot quantise the model: {one_line(error)}") from error


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
            if batch.fault:
                raise UnreadableImageError(batch.fault)
            yield {INPUT: batch.images}


def _copy_metadata(source: Path, target: Path) -> None:
    import onnx

    entries = {one.key: one.value for one in onnx.load(str(source)).metadata_props}
    quantized = onnx.load(str(target))
    onnx.helper.set_model_props(quantized, entries | {"precision": json.dumps("int8")})
    onnx.save(quantized, str(target))
