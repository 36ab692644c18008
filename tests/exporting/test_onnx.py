import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from torchvision.transforms.v2.functional import normalize

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.exporting import pt2
from skinlesion_cli.exporting.graph import BytesToLogits
from skinlesion_cli.exporting.onnx import export
from skinlesion_cli.exporting.verified import quiet
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.checkpoint import load_checkpoint
from tests.conftest import CLASSES

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8)


def test_the_graph_takes_bytes_and_gives_logits(exported: Path, checkpoint: Path) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (taken,), (given, distance) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape) == ("image", "tensor(uint8)", ["n", 3, 64, 64])
    assert (given.name, given.type, given.shape) == ("logits", "tensor(float)", ["n", 3])
    assert (distance.name, distance.type, distance.shape) == ("distance", "tensor(float)", ["n"])
    loaded = load_checkpoint(checkpoint)
    model = loaded.build().eval()
    inputs = normalize(torch.from_numpy(PIXELS) / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.inference_mode():
        expected = model(inputs).numpy() / loaded.temperature
    assert session.run(None, {"image": PIXELS})[0] == pytest.approx(expected, abs=1e-4)


def test_an_onnx_describes_itself(exported: Path, checkpoint: Path) -> None:
    model = onnx.load(str(exported))
    known = {one.key: json.loads(one.value) for one in model.metadata_props}
    content = torch.load(checkpoint, weights_only=True)
    for key in (
        "arch",
        "classes",
        "img_size",
        "preprocessing",
        "settings",
        "class_counts",
        "metrics",
        "epoch",
        "temperature",
        "distance_limit",
        "false_alarm_rate",
    ):
        assert known[key] == content[key], key
    assert known["settings"]["sampler_alpha"] == content["settings"]["sampler_alpha"]
    assert known["format"] == "skinlesion-export-1"
    assert known["preprocessing"]["resize_ratio"] == 1.14
    assert {"skinlesion", "torch", "timm"} <= known["versions"].keys()


def test_a_file_contains_no_path_of_its_machine(exported: Path, exported_pt2: Path) -> None:
    # Where the exporters note it: the folder of the packages, in the stack traces of the nodes.
    assert b"site-packages" not in exported.read_bytes()
    with zipfile.ZipFile(exported_pt2) as archive:
        assert not [name for name in archive.namelist() if b"site-packages" in archive.read(name)]


def test_a_pt2_agrees_with_torch_and_describes_itself(exported_pt2: Path, checkpoint: Path) -> None:
    extra = {pt2.METADATA: ""}
    with quiet():
        model = torch.export.load(exported_pt2, extra_files=extra).module()
    predictor = load_predictor(checkpoint)
    expected = softmax(predictor.backend.outputs(PIXELS).logits, predictor.temperature)
    with torch.inference_mode():
        for count in (1, 3):
            answers = model(torch.from_numpy(PIXELS[:count])).double().softmax(dim=1).numpy()
            assert answers == pytest.approx(expected[:count], abs=1e-5)
    assert json.loads(extra[pt2.METADATA])["classes"] == list(CLASSES)


def test_a_pt2_is_never_loaded_for_a_user(exported_pt2: Path) -> None:
    with pytest.raises(InputError, match=r"can run code from the file.*use the \.pth, or an \.onnx"):
        load_predictor(exported_pt2)


class OffByALittle(BytesToLogits):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image) * 1.5


class NotANumber(BytesToLogits):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image) * float("nan")


class Untraceable(BytesToLogits):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image) if image.sum().item() > 0 else image.float()


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        (OffByALittle, "from PyTorch's by 0"),
        (NotANumber, "by nan"),
        (Untraceable, "cannot export"),
    ],
)
def test_a_wrong_file_is_not_left(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrapper: type[BytesToLogits],
    message: str,
) -> None:
    monkeypatch.setattr(pt2, "BytesToLogits", wrapper)
    earlier = tmp_path / "m.pt2"
    earlier.write_text("an earlier file", encoding="utf-8")
    with pytest.raises(SkinLesionError, match=message) as caught:
        pt2.export(load_checkpoint(checkpoint), earlier, PIXELS)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]
    assert earlier.read_text(encoding="utf-8") == "an earlier file"


def test_an_export_that_fails_names_the_cause_and_a_way_out(tmp_path: Path) -> None:
    # Its attention has five dimensions, which the exporter does not know.
    arch = "nest_tiny"
    torch.save(timm.create_model(arch, num_classes=2).state_dict(), tmp_path / "bare.pth")
    loaded = load_checkpoint(tmp_path / "bare.pth", arch=arch, classes=["a", "b"], img_size=224)
    pixels = np.zeros((2, 3, 224, 224), np.uint8)
    with pytest.raises(SkinLesionError) as caught:
        export(loaded, tmp_path / "m.onnx", pixels)
    text = str(caught.value)
    assert "cannot export nest_tiny as .onnx: only 4D query, key, and value are supported; " in text
    assert "try --to FILE.pt2, or another backbone" in text
    assert "\n" not in text
    assert "\x1b" not in text
    assert not (tmp_path / "m.onnx").exists()
