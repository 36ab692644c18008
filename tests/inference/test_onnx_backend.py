import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.inference.onnx_backend import load_onnx
from skinlesion_cli.inference.prediction import Prediction
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.scoring import predict_and_evaluate
from tests.conftest import CLASSES


def test_onnx_and_torch_agree_on_photographs(exported: Path, checkpoint: Path, data: Path) -> None:
    paths = read_split(data, "train").paths
    torch_answers = list(load_predictor(checkpoint, batch_size=4).predict_many(paths))
    onnx_answers = list(load_predictor(exported, batch_size=7).predict_many(paths))
    assert [one.image for one in onnx_answers] == [one.image for one in torch_answers]
    for one, other in zip(torch_answers, onnx_answers, strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert list(other.probabilities) == list(CLASSES)
        assert list(other.probabilities.values()) == pytest.approx(list(one.probabilities.values()), abs=1e-4)
    # They are answers to the photographs: not all of them are alike.
    assert np.std([one.confidence for one in onnx_answers if isinstance(one, Prediction)]) > 1e-3


def test_the_scores_are_those_of_the_checkpoint(exported: Path, checkpoint: Path, data: Path) -> None:
    split = read_split(data, "test")
    _, _, expected = predict_and_evaluate(load_predictor(checkpoint), split)
    _, _, document = predict_and_evaluate(load_predictor(exported), split)
    for name in ("accuracy", "weighted_f1", "loss", "weighted_loss"):
        assert document[name] == pytest.approx(expected[name], abs=1e-4)


def changed(source: Path, target: Path, **entries: Any) -> Path:
    """A copy of an export whose metadata differs; None takes an entry out."""
    model = onnx.load(str(source))
    known = {one.key: one.value for one in model.metadata_props}
    for key, value in entries.items():
        known.pop(key)
        if value is not None:
            known[key] = json.dumps(value)
    onnx.helper.set_model_props(model, known)
    onnx.save(model, str(target))
    return target


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": None}, "was not written by `skinlesion export`"),
        ({"classes": ["a", "b"]}, "does not match its own metadata"),
        ({"img_size": 32}, "does not match its own metadata"),
        ({"preprocessing": {"mean": [0] * 3}}, "does not say how its images are resized"),
        ({"preprocessing": {"resize_ratio": 0}}, "invalid preprocessing: a resize ratio of 0"),
        ({"preprocessing": {"mean": [0], "std": [0]}}, "invalid preprocessing"),
    ],
)
def test_a_file_that_does_not_fit_its_metadata_is_refused(
    exported: Path, tmp_path: Path, entries: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_onnx(changed(exported, tmp_path / "m.onnx", **entries))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: load_onnx(path, arch="resnet18"), "disagrees with --arch"),
        (lambda path: load_onnx(path, classes=["a", "b", "c"]), "disagrees with --classes"),
        (lambda path: load_onnx(path, img_size=65), "takes images of 64 pixels"),
        (lambda path: load_onnx(path, device="cuda"), "--device cuda: an .onnx runs on cpu"),
        (lambda path: load_onnx(path, precision="bf16"), "--precision bf16: an .onnx runs on fp32"),
        (lambda path: load_onnx(path.with_name("absent.onnx")), "there is no file"),
    ],
)
def test_what_it_cannot_do_is_refused(exported: Path, call: Callable[[Path], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(exported)


def test_a_damaged_file_is_refused_in_one_line(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(exported.read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"^refused to load [^\n]*cut\.onnx: it is damaged[^\n]*$"):
        load_onnx(tmp_path / "cut.onnx")
