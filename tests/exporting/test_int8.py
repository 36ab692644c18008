from pathlib import Path

import onnx
import pytest

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD
from skinlesion_cli.data.splits import evenly, read_split
from skinlesion_cli.exporting.int8 import quantize
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.models.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(64, IMAGENET_MEAN, IMAGENET_STD)


def test_a_quantised_model_is_small_and_still_itself(exported: Path, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "int8.onnx"
    paths = read_split(data, "train").paths
    quantize(exported, target, paths, PREPROCESSING, workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]
    assert target.stat().st_size < 0.5 * exported.stat().st_size
    model = onnx.load(str(target))
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    assert {one.key: one.value for one in model.metadata_props}["precision"] == '"int8"'
    full, small = (load_predictor(path).predict(paths[0]) for path in (exported, target))
    values = list(small.probabilities.values())
    assert values == pytest.approx(list(full.probabilities.values()), abs=0.15)
    assert values != list(full.probabilities.values())


def test_an_unreadable_image_leaves_no_file(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("no image", encoding="utf-8")
    with pytest.raises(UnreadableImageError, match=r"x\.jpg"):
        quantize(exported, tmp_path / "m.onnx", [tmp_path / "x.jpg"], PREPROCESSING, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["x.jpg"]


def test_a_choice_is_spread_evenly() -> None:
    paths = [Path(str(index)) for index in range(101)]
    assert evenly(paths, 5) == [Path(name) for name in ("0", "25", "50", "75", "100")]
    assert evenly(paths[:3], 5) == paths[:3]
