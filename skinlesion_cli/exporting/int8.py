"""Static int8 quantisation of an exported model, calibrated on training images."""

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import SkinLesionError, UnreadableImageError, one_line
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.files import written_whole
from skinlesion_cli.data.eval_views import viewed_batches
from skinlesion_cli.data.splits import Split, evenly, named_as, require_classes
from skinlesion_cli.exporting.onnx import export
from skinlesion_cli.exporting.verified import Exported, Pixels, quiet
from skinlesion_cli.inference.onnx_backend import INPUT
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.scoring import predict_and_evaluate
from skinlesion_cli.models.checkpoint import Checkpoint
from skinlesion_cli.models.model_info import Preprocessing

CALIBRATION_IMAGES = 200
"""Enough for stable ranges of all activations; more images only take longer."""
BATCH = 8
OPERATORS = ["Conv", "Gemm", "MatMul"]
"""Nearly all of the computation. The other operators, such as softmax, stay in fp32."""
SCORES = ("accuracy", "weighted_f1")


@dataclass(frozen=True)
class Quantized:
    """A quantised model, compared with the fp32 model that it was made from."""

    full: Exported
    """The fp32 model; its file is temporary."""
    path: Path
    size: int
    """In bytes."""
    calibrated: int
    """Number of calibration images."""
    scores: dict[str, dict[str, float]]
    """`SCORES` on validation, of `fp32` and of `int8`."""

    def rows(self) -> list[dict[str, Any]]:
        """A row per score: `score`, `fp32`, `int8` and their `difference`."""
        pairs = [(name, self.scores["fp32"][name], self.scores["int8"][name]) for name in SCORES]
        return [
            {"score": name, "fp32": full, "int8": own, "difference": own - full} for name, full, own in pairs
        ]

    def to_dict(self) -> dict[str, Any]:
        """The result as `export --int8 --json` prints it."""
        sizes = {"fp32": self.full.size, "int8": self.size}
        return self.full.to_dict() | {"file": str(self.path), "bytes": sizes, "val": self.scores}


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
    """Write a checkpoint as a quantised .onnx, and compare its scores with those of the fp32 model.

    It is calibrated on `train` and scored on `val`. The fp32 model is verified on `pixels`, as in `export`.

    Raises:
        InputError: the classes of a split are not the model's; see also `export`.
    """
    for split in (train, val):
        require_classes(named_as(split, checkpoint.classes), checkpoint.classes, "the checkpoint")
    images = evenly(train.paths, CALIBRATION_IMAGES)
    with tempfile.TemporaryDirectory() as folder, written_whole(target) as part:
        # The distance needs more than 8 bits: it is a small difference of large numbers.
        plain = dataclasses.replace(checkpoint, novelty=None, distance_limit=None, false_alarm_rate=None)
        full = export(plain, Path(folder, "fp32.onnx"), pixels)
        quantize(full.path, part, images, checkpoint.preprocessing, workers=workers)
        scores = {}
        for name, path in (("fp32", full.path), ("int8", part)):
            predictor = load_predictor(path, num_workers=workers)
            _, _, document = predict_and_evaluate(predictor, val, on_event)
            scores[name] = {score: document[score] for score in SCORES}
    return Quantized(full, target, target.stat().st_size, len(images), scores)


def quantize(
    source: Path, target: Path, images: Sequence[Path], preprocessing: Preprocessing, *, workers: int
) -> None:
    """Quantise an .onnx to int8, as QDQ: weights with a scale per channel, activations by `images`."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, written_whole(target) as part:
        prepared = Path(folder, "prepared.onnx")
        try:
            with quiet():
                # Symbolic shapes are only for models of unknown sizes.
                quant_pre_process(source, prepared, skip_symbolic_shape=True)
                quantize_static(
                    prepared,
                    part,
                    _Calibration(images, preprocessing, workers),
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=OPERATORS,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                )
            entries = {one.key: one.value for one in onnx.load(str(source)).metadata_props}
            quantized = onnx.load(str(part))
            onnx.helper.set_model_props(quantized, entries | {"precision": json.dumps("int8")})
            onnx.save(quantized, str(part))
        except (SkinLesionError, OSError):
            raise
        # As with torch's exporter: many exception types, one meaning.
        except Exception as error:
            raise SkinLesionError(
                f"onnxruntime cannot quantise the model: {one_line(error)}; export without --int8"
            ) from error


class _Calibration:
    """The interface through which onnxruntime reads the calibration batches."""

    def __init__(self, images: Sequence[Path], preprocessing: Preprocessing, workers: int):
        side, resize = preprocessing.img_size, preprocessing.resize
        self._batches = viewed_batches(
            images, img_size=side, resize=resize, batch_size=BATCH, workers=workers
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by the input's name; None after the last."""
        batch = next(self._batches, None)
        if batch is not None and batch.fault:
            raise UnreadableImageError(batch.fault)
        return None if batch is None else {INPUT: batch.images}
