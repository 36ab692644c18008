"""An .onnx that reaches for other files, runs without end, or describes itself with nonsense."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.inference.onnx_backend import load_onnx
from skinlesion_cli.inference.onnx_checks import fault_of_onnx
from tests.fuzz.readers import small_onnx


def written(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def loaded(**options: Any) -> onnx.ModelProto:
    return onnx.load_model_from_string(small_onnx(**options))


def external(location: str) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros((192, 3), np.float32), "weight")
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return tensor


def test_a_whole_file_has_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(small_onnx())
    assert fault_of_onnx(path) == ""
    assert load_onnx(path)[0].classes == ("a", "b", "c")


@pytest.mark.parametrize("place", ["initializer", "attribute", "function", "sparse"])
def test_weights_in_other_files_are_refused(tmp_path: Path, place: str) -> None:
    model, tensor = loaded(), external("../../etc/passwd")
    if place == "initializer":
        del model.graph.initializer[:]
        model.graph.initializer.append(tensor)
    elif place == "attribute":
        model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))
    elif place == "function":
        node = helper.make_node("Constant", [], ["y"], value=tensor)
        model.functions.append(
            helper.make_function("d", "f", [], ["y"], [node], [helper.make_opsetid("", 18)])
        )
    else:
        sparse = onnx.SparseTensorProto(values=tensor, dims=[192, 3])
        model.graph.sparse_initializer.append(sparse)
    with pytest.raises(InputError, match="its weights are in other files"):
        load_onnx(written(tmp_path / "m.onnx", model))


def test_an_external_location_is_seen_in_whatever_way_it_is_written(tmp_path: Path) -> None:
    # data_location = 1 (field 14), its number in two bytes where one is enough.
    tensor = b"\x70\x81\x00"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x3a" + bytes([len(graph) | 0x80, 0]) + graph)
    assert "other files" in fault_of_onnx(path)


def test_loops_and_branches_are_refused(tmp_path: Path) -> None:
    model = loaded()
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])])
    model.graph.node.append(helper.make_node("Loop", ["a", "b"], ["x"], body=body))
    with pytest.raises(InputError, match="contains loops or branches"):
        load_onnx(written(tmp_path / "m.onnx", model))


@pytest.mark.parametrize(
    "content", [b"", b"\x3a", b"\xff" * 50, b"\x3a\xff\xff\xff\xff\x0f", b"text", b"\x0b"]
)
def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"refused to load .*damaged"):
        load_onnx(path)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"classes": '"abc"'}, "give --classes"),
        ({"classes": '["a", "b", "a"]'}, "invalid class names"),
        ({"classes": "[" + '"a",' * 100_000 + '"b"]'}, "invalid class names"),
        ({"classes": "[" * 10_000}, "give --classes"),
        ({"classes": "[" * 10_000 + "]" * 10_000}, "give --classes|names its classes"),
        ({"img_size": "9" * 10_000}, "has an invalid preprocessing or img_size"),
        ({"img_size": "NaN"}, "invalid preprocessing"),
        ({"temperature": "Infinity"}, "invalid temperature"),
        ({"format": '"other"'}, "was not written by `skinlesion export`"),
        ({"preprocessing": "[]"}, "does not say how its images are resized"),
    ],
)
def test_an_invalid_description_is_refused(tmp_path: Path, raw: dict[str, str], reason: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(small_onnx(raw))
    with pytest.raises(InputError, match=reason) as caught:
        load_onnx(path)
    assert len(str(caught.value)) < 1000


def test_an_endless_description_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(small_onnx({"note": "x" * (33 << 20)}))
    assert fault_of_onnx(path) == "its metadata is larger than 32 MiB"


def test_a_graph_that_fails_when_it_runs_gives_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = loaded()
    # 192 numbers an image reshaped to a fixed 2 × 192: right for two images, and they are given one by one.
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 192]), "shape"))
    model.graph.node[1].CopyFrom(helper.make_node("Reshape", ["floats", "shape"], ["flat"]))
    _, backend = load_onnx(written(tmp_path / "m.onnx", model))
    with pytest.raises(SkinLesionError, match="does not match its own metadata"):
        backend.outputs(np.zeros((2, 3, 8, 8), np.uint8))
    assert capfd.readouterr().err == ""
