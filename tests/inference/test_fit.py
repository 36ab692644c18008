"""Each fit: the .pth, the .onnx and the heat map agree with a network that torchvision feeds."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision.transforms import v2

from skinlesion_cli import explain, load_predictor
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD
from skinlesion_cli.curation.synthetic import KINDS, draw_lesion
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.framing import seen_frame
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.exporting.int8 import _Calibration
from skinlesion_cli.exporting.onnx import export
from skinlesion_cli.exporting.verified import check_pixels
from skinlesion_cli.inference.backend import predict_split
from skinlesion_cli.inference.onnx_backend import INPUT
from skinlesion_cli.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tests.support.fits import FITS, preprocessing_of, reference_view, resize_of

CLOSE = 1e-4
ARCH, SIDE, CLASSES = "test_resnet", 64, ("a", "b", "c")
SIZES = [(300, 120), (90, 210), (160, 160), (640, 60)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Drawn lesions of every shape."""
    folder = tmp_path_factory.mktemp("shapes")
    paths = [folder / f"{width}x{height}.jpg" for width, height in SIZES]
    for path, kind, size in zip(paths, KINDS, SIZES, strict=False):
        draw_lesion(kind, 1).resize(size).save(path, quality=92)
    return paths


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """A network whose answer depends on the pixels: its head is enlarged."""
    torch.manual_seed(0)
    made = timm.create_model(ARCH, num_classes=len(CLASSES)).eval()
    with torch.no_grad():
        made.get_classifier().weight *= 40
    return made


@pytest.fixture(scope="module", params=FITS)
def fit(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def saved(fit: str, network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with this fit."""
    path = tmp_path_factory.mktemp(fit) / "model.pth"
    preprocessing = preprocessing_of(fit, SIDE)
    save_checkpoint(
        path, Checkpoint(arch=ARCH, classes=CLASSES, preprocessing=preprocessing, state=network.state_dict())
    )
    return path


@pytest.fixture(scope="module")
def exported(saved: Path, photographs: list[Path]) -> Path:
    loaded = load_checkpoint(saved)
    return export(loaded, saved.with_suffix(".onnx"), check_pixels(photographs, loaded.preprocessing)).path


def inputs_of(path: Path, fit: str) -> torch.Tensor:
    """The network's input, by Pillow and torchvision alone."""
    with Image.open(path) as image:
        square = reference_view(image.convert("RGB"), SIDE, fit)
    pixels = v2.functional.to_dtype(v2.functional.to_image(square), scale=True)
    return v2.functional.normalize(pixels, [*IMAGENET_MEAN], [*IMAGENET_STD])[None]


def test_the_checkpoint_the_export_and_the_heat_map_agree_with_torchvision(
    fit: str, saved: Path, exported: Path, photographs: list[Path], network: torch.nn.Module
) -> None:
    torch_model, onnx_model = load_predictor(saved), load_predictor(exported)
    assert torch_model.checkpoint.preprocessing == onnx_model.checkpoint.preprocessing
    assert onnx_model.checkpoint.preprocessing.resize == resize_of(fit)
    answers = []
    for path in photographs:
        inputs = inputs_of(path, fit)
        with torch.inference_mode():
            expected = network(inputs).softmax(dim=1)[0].tolist()
        answers.append(expected)
        for predictor in (torch_model, onnx_model):
            found = predictor.predict(path)
            assert list(found.probabilities.values()) == pytest.approx(expected, abs=CLOSE)
        # In memory, and flipped: the other ways in.
        flipped = [next(one.predict_many([path], flips=True)) for one in (torch_model, onnx_model)]
        assert flipped[0].probabilities == pytest.approx(flipped[1].probabilities, abs=CLOSE)
        assert torch_model.predict(read_image(path)).probabilities == pytest.approx(
            torch_model.predict(path).probabilities, abs=1e-6
        )
        (shown,) = explain(torch_model, path)
        assert shown.confidence == pytest.approx(max(expected), abs=CLOSE)
        assert shown.frame == seen_frame(shown.image.size, SIDE, resize_of(fit))
        layer = [network.get_submodule(shown.layer)]
        target = CLASSES.index(shown.label)
        with GradCAM(model=network, target_layers=layer) as reference:
            heat = reference(inputs, [ClassifierOutputTarget(target)])[0]
        # Scaled alike: the reference also shifts the smallest value to 0.
        cells = torch.from_numpy(shown.raw)[None, None]
        ours = torch.nn.functional.interpolate(cells, size=(SIDE, SIDE), mode="bilinear")[0, 0].numpy()
        assert ours.max() > 0
        scaled = (ours - ours.min()) / (ours.max() - ours.min() + 1e-30)
        assert np.abs(scaled - heat).max() < CLOSE
    # The photographs are told apart, so that a wrong view would be found.
    assert np.ptp(np.array(answers), axis=0).max() > 0.05


def test_the_fits_see_different_pixels(photographs: list[Path]) -> None:
    views = [[view(read_image(path), SIDE, resize_of(fit)) for fit in FITS] for path in photographs[:2]]
    for crop, pad, squash in views:
        assert min(np.abs(one.astype(int) - other).mean() for one, other in ((crop, pad), (pad, squash))) > 5


def test_the_calibration_of_int8_sees_the_same_views(fit: str, photographs: list[Path]) -> None:
    batch = _Calibration(photographs, preprocessing_of(fit, SIDE), 0).get_next()
    assert batch is not None
    expected = [
        np.asarray(reference_view(read_image(path), SIDE, fit)).transpose(2, 0, 1) for path in photographs
    ]
    assert np.array_equal(batch[INPUT], np.stack(expected))


def test_the_fit_is_in_the_files_and_older_files_mean_crop(fit: str, saved: Path, exported: Path) -> None:
    content = torch.load(saved, weights_only=True)
    assert content["preprocessing"]["fit"] == fit
    model = onnx.load(str(exported))
    metadata = {one.key: one.value for one in model.metadata_props}
    assert json.loads(metadata["preprocessing"])["fit"] == fit
    for path in (saved, exported):
        assert load_predictor(path, fit=fit).checkpoint.preprocessing.resize.fit == fit
        other = next(one for one in FITS if one != fit)
        with pytest.raises(InputError, match=rf"disagrees with --fit: its fit is {fit}"):
            load_predictor(path, fit=other)
    del content["preprocessing"]["fit"]
    torch.save(content, saved.with_name("older.pth"))
    assert load_checkpoint(saved.with_name("older.pth")).preprocessing == preprocessing_of("crop", SIDE)
    content["preprocessing"]["fit"] = "stretch"
    torch.save(content, saved.with_name("odd.pth"))
    with pytest.raises(InputError, match="invalid preprocessing"):
        load_checkpoint(saved.with_name("odd.pth"))


def test_weights_without_a_description_are_told_their_fit(network: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "bare.pth")
    named = {"arch": ARCH, "classes": CLASSES, "img_size": SIDE}
    assert load_checkpoint(tmp_path / "bare.pth", **named).preprocessing.resize.fit == "crop"
    loaded = load_checkpoint(tmp_path / "bare.pth", **named, fit="squash")
    assert loaded.preprocessing.resize.fit == "squash"
    assert "squash to a square" in loaded.notes[0]
    with pytest.raises(InputError, match="--fit: 'padded' is not one of crop, pad, squash; did you mean pad"):
        load_checkpoint(tmp_path / "bare.pth", **named, fit="padded")


def test_a_split_is_scored_on_the_views_of_single_photographs(saved: Path, data: Path) -> None:
    predictor, split = load_predictor(saved), read_split(data, "test")
    scored = predict_split(
        predictor.backend, _renamed(split), CLASSES, batch_size=4, workers=0, temperature=None
    )
    for path, row in zip(split.paths, scored.probabilities, strict=True):
        assert list(predictor.predict(path).probabilities.values()) == pytest.approx(row.tolist(), abs=1e-5)


def _renamed(split):  # type: ignore[no-untyped-def]
    import dataclasses

    return dataclasses.replace(split, classes=CLASSES)
