from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from skinlesion_cli import explain, load_predictor
from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD, PAPER, Resize
from skinlesion_cli.data.framing import seen_frame
from skinlesion_cli.exporting.onnx import export
from skinlesion_cli.exporting.verified import check_pixels
from skinlesion_cli.inference.onnx_backend import load_onnx
from skinlesion_cli.models.checkpoint import load_checkpoint

SIDE = 96
ARCH = "mobilevitv2_050"
"""timm trained it with mean 0, std 1, bicubic and a crop of 0.888."""
NAMED: dict[str, Any] = {"arch": ARCH, "classes": ["a", "b"], "img_size": SIDE}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(timm.create_model(ARCH, num_classes=2).state_dict(), tmp_path / "bare.pth")
    return tmp_path / "bare.pth"


@pytest.mark.parametrize("arch", [ARCH, "tf_efficientnet_lite0", "resnet10t"])
def test_what_a_file_does_not_say_is_as_timm_says(arch: str, picture: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model(arch, num_classes=2).eval()
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    config = resolve_model_data_config(model) | {"input_size": (3, SIDE, SIDE)}
    with torch.inference_mode(), Image.open(picture) as photograph:
        inputs = create_transform(**config)(photograph.convert("RGB"))
        expected = model(inputs[None]).softmax(dim=1)[0].tolist()
    predictor = load_predictor(tmp_path / "bare.pth", **NAMED | {"arch": arch})
    assert list(predictor.predict(picture).probabilities.values()) == pytest.approx(expected, abs=1e-5)
    (note,) = predictor.checkpoint.notes
    assert f"as for timm's {arch}: mean" in note


def test_the_caller_knows_better(bare: Path) -> None:
    def found(**given: Any) -> Any:
        return load_checkpoint(bare, **NAMED, **given).preprocessing

    plain = found()
    assert (plain.mean, plain.std, plain.resize) == ((0.0,) * 3, (1.0,) * 3, Resize(108 / 96, "bicubic"))
    assert found(normalization="imagenet").mean == IMAGENET_MEAN
    assert found(normalization="imagenet").std == IMAGENET_STD
    assert found(mean=[0.1, 0.2, 0.3]).mean == (0.1, 0.2, 0.3)
    assert found(std=[0.5] * 3).std == (0.5,) * 3
    assert found(interpolation="lanczos").resize == Resize(108 / 96, "lanczos")
    assert found(crop_pct=0.875).resize == Resize(109 / 96, "bicubic")
    everything = {"normalization": "imagenet", "interpolation": "bilinear", "crop_pct": 0.9}
    assert load_checkpoint(bare, **NAMED, **everything).notes == ()


def test_what_a_file_says_is_kept(checkpoint: Path, exported: Path) -> None:
    for load in (load_checkpoint, lambda path, **given: load_onnx(path, **given)[0]):
        path = checkpoint if load is load_checkpoint else exported
        found = load(path)
        assert (found.preprocessing.mean, found.preprocessing.resize, found.notes) == (
            IMAGENET_MEAN,
            PAPER,
            (),
        )
        assert load(path, normalization="imagenet", img_size=64).preprocessing == found.preprocessing
        for given, option in (
            ({"normalization": "backbone"}, "--normalization"),
            ({"mean": [0.0] * 3}, "--mean"),
            ({"std": [1.0] * 3}, "--std"),
            ({"interpolation": "bicubic"}, "--interpolation"),
            ({"crop_pct": 1.0}, "--crop-pct"),
            ({"img_size": 224}, "--img-size: it takes images of 64 pixels"),
        ):
            # An .onnx is read without timm.
            unknown = load is not load_checkpoint and option == "--normalization"
            with pytest.raises(InputError, match=option if unknown else f"disagrees with {option}"):
                load(path, **given)


@pytest.mark.parametrize(
    "given",
    [
        {"normalization": "zero"},
        {"mean": [0.5]},
        {"std": [0, 1, 1]},
        {"interpolation": "x"},
        {"crop_pct": 0.0},
    ],
)
def test_invalid_values_are_refused(bare: Path, given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(given)).replace("_", "-")):
        load_checkpoint(bare, **NAMED, **given)


def test_an_export_and_a_heat_map_keep_it(bare: Path, picture: Path, tmp_path: Path) -> None:
    loaded, predictor = load_checkpoint(bare, **NAMED), load_predictor(bare, **NAMED)
    export(loaded, tmp_path / "m.onnx", check_pixels([picture], loaded.preprocessing))
    exported = load_predictor(tmp_path / "m.onnx")
    assert exported.checkpoint.preprocessing == loaded.preprocessing
    expected = predictor.predict(picture).probabilities
    assert exported.predict(picture).probabilities == pytest.approx(expected, abs=1e-5)
    (shown,) = explain(predictor, picture)
    assert shown.frame == seen_frame(shown.image.size, SIDE, loaded.preprocessing.resize)
    assert shown.frame != seen_frame(shown.image.size, SIDE)
    assert shown.confidence == pytest.approx(max(expected.values()), abs=1e-6)


def test_one_output_is_a_sigmoid_with_two_names(picture: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=1).eval()
    torch.save(model.state_dict(), tmp_path / "one.pth")
    named = {"arch": "resnet10t", "img_size": 64}
    predictor = load_predictor(tmp_path / "one.pth", classes=["benign", "malignant"], **named)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), np.uint8)
    backend: Any = predictor.backend
    with torch.inference_mode():
        sigmoid = model(backend.inputs(torch.from_numpy(pixels))).sigmoid().item()
    logits = torch.from_numpy(backend.outputs(pixels).logits)
    assert logits.softmax(dim=1)[0].tolist() == pytest.approx([1 - sigmoid, sigmoid], abs=1e-6)
    assert 0.01 < predictor.predict(picture).probabilities["malignant"] < 0.99
    assert "the sigmoid of its one output is the probability of malignant" in predictor.checkpoint.notes[1]
    for classes in (["malignant"], ["a", "b", "c"], ["a", "b", "a"]):
        with pytest.raises(InputError, match=r"one class|a head for 1 classes|names a 2 times"):
            load_predictor(tmp_path / "one.pth", classes=classes, **named)


@pytest.mark.parametrize("arch", ["efficientformer_l1", "swin_tiny_patch4_window7_224"])
def test_a_wrong_size_gives_one_line_everywhere(arch: str, picture: Path, tmp_path: Path) -> None:
    torch.save(timm.create_model(arch, num_classes=2).state_dict(), tmp_path / "bare.pth")
    given = NAMED | {"arch": arch, "img_size": 64}

    def exported() -> None:
        loaded = load_checkpoint(tmp_path / "bare.pth", **given)
        export(loaded, tmp_path / "m.onnx", check_pixels([], loaded.preprocessing))

    for use in (
        lambda: load_predictor(tmp_path / "bare.pth", **given).predict(picture),
        lambda: explain(load_predictor(tmp_path / "bare.pth", **given), picture),
        exported,
    ):
        with pytest.raises(SkinLesionError, match=r"^[^\n]*64 pixels[^\n]*$"):
            use()
    assert not (tmp_path / "m.onnx").exists()


def test_an_older_name_of_a_backbone_is_taken(tmp_path: Path) -> None:
    old = "tf_efficientnet_b0_ns"
    torch.save(timm.create_model("tf_efficientnet_b0", num_classes=2).state_dict(), tmp_path / "bare.pth")
    loaded = load_checkpoint(tmp_path / "bare.pth", **NAMED | {"arch": old})
    expected = timm.get_pretrained_cfg("tf_efficientnet_b0.ns_jft_in1k")
    assert (loaded.preprocessing.mean, loaded.preprocessing.resize.interpolation) == (
        expected.mean,
        "bicubic",
    )
    loaded.build()
    with pytest.raises(InputError, match=r"unknown backbone 'resnet18\.none': Invalid pretrained tag"):
        load_checkpoint(tmp_path / "bare.pth", **NAMED | {"arch": "resnet18.none"})
