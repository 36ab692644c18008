from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from skinlesion_cli import explain
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.exporting.class_maps import is_exact, mapper_of
from skinlesion_cli.inference.ensemble import Ensemble
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.models.checkpoint import load_checkpoint
from skinlesion_cli.saliency.layers import default_layer
from tests.conftest import CLASSES
from tests.support.maps import class_activation_map, model_of


@pytest.mark.parametrize(
    ("arch", "size", "layer"),
    [
        ("mobilevitv2_050", 64, "stages.4"),
        ("tf_efficientnet_lite0", 64, "bn2"),
        ("resnet10t", 64, "layer4"),
        ("resnetv2_50x1_bit", 64, "norm"),
        ("swin_tiny_patch4_window7_224", 64, "norm"),
    ],
)
def test_a_map_is_hirescam_at_the_last_features(arch: str, size: int, layer: str) -> None:
    options = {"img_size": size} if "swin" in arch else {}
    model = model_of(arch, **options)
    inputs = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    mapper = mapper_of(model, arch, size)
    assert (mapper.layer, mapper.grid) == (layer, (2, 2))
    with torch.no_grad():
        maps = mapper(model.forward_features(inputs))[0]
    for target in range(5):
        expected, logits = class_activation_map(model, inputs, layer, target, "hirescam")
        scale = float(maps[target].abs().max())
        np.testing.assert_allclose(maps[target].clamp(min=0), expected, atol=1e-4 * scale)
        assert float(maps[target].sum() + mapper.bias[target]) == pytest.approx(
            float(logits[target]), abs=1e-4
        )


def test_heads_without_an_exact_map_are_refused_with_the_reason() -> None:
    for arch, reason in (
        ("mobilenetv3_small_050", "more than average the positions and apply one linear layer"),
        ("vit_tiny_patch16_224", "its last features are tokens"),
    ):
        options = {"img_size": 64} if "vit" in arch else {}
        with pytest.raises(InputError, match=f"--cam: no exact class-activation map for {arch}: .*{reason}"):
            mapper_of(model_of(arch, **options), arch, 64)
    pooled = model_of("resnet10t", global_pool="max")
    with pytest.raises(InputError, match="more than average"):
        mapper_of(pooled, "resnet10t", 64)
    with pytest.raises(InputError, match="timm does not tell its features"):
        mapper_of(nn.Sequential(nn.Conv2d(3, 4, 1)), "own", 64)


def test_maps_that_do_not_add_up_are_not_exact() -> None:
    maps = np.ones((1, 2, 2, 2))
    assert is_exact(maps, np.array([[5.0, 3.0]]), np.array([1.0, -1.0]))
    assert not is_exact(maps, np.array([[5.0, 3.01]]), np.array([1.0, -1.0]))


def test_an_onnx_gives_the_maps_of_its_checkpoint(exported_cam: Path, checkpoint: Path, data: Path) -> None:
    paths = sorted((data / "test").glob("*/*.jpg"))
    inside = explain(exported_cam, paths, top=3)
    assert len(inside) == 3 * len(paths)
    for method in ("hirescam", "gradcam"):
        by_gradient = explain(checkpoint, paths, top=3, method=method)
        for one, other in zip(inside, by_gradient, strict=True):
            np.testing.assert_allclose(one.raw, other.raw, atol=1e-4)
            np.testing.assert_allclose(one.heat, other.heat, atol=1e-4)
            assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
            assert (one.layer, one.grid, one.frame) == (other.layer, other.grid, other.frame)
            assert (one.label, one.predicted, one.source) == (other.label, other.predicted, other.source)
    # Evidence of several sizes, not maps that are all empty.
    assert np.std([one.raw.max() for one in inside]) > 1e-3


def test_the_graph_names_its_maps(exported_cam: Path, checkpoint: Path) -> None:
    session = onnxruntime.InferenceSession(exported_cam, providers=["CPUExecutionProvider"])
    shapes = {one.name: one.shape for one in session.get_outputs()}
    assert shapes == {"logits": ["n", 3], "distance": ["n"], "cam": ["n", 3, 2, 2]}
    known = session.get_modelmeta().custom_metadata_map
    assert known["cam"] == '{"layer": "stages.4", "grid": [2, 2]}'
    # As documented: the sum of a class's map, and a constant of the class, is its calibrated logit.
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8)
    logits, _, maps = session.run(None, {"image": images})
    rest = logits - maps.sum(axis=(2, 3))
    np.testing.assert_allclose(rest, rest[:1].repeat(3, axis=0), atol=1e-4)
    loaded = load_checkpoint(checkpoint)
    bias = loaded.build().get_classifier().bias.detach().numpy() / loaded.temperature
    np.testing.assert_allclose(rest[0], bias, atol=1e-4)


def test_an_explanation_takes_every_way_in(exported_cam: Path, checkpoint: Path, picture: Path) -> None:
    predictor = load_predictor(exported_cam)
    (found,) = explain(predictor, picture, classes=CLASSES[1], method="hirescam", faithfulness=True)
    assert (found.method, found.label) == ("hirescam", CLASSES[1])
    assert found.faithfulness is not None
    both = Ensemble([predictor, load_predictor(checkpoint)])
    (joined,) = explain(both, picture, classes=CLASSES[1])
    np.testing.assert_allclose(joined.heat, found.heat, atol=1e-4)
    with pytest.raises(InputError, match=r"--layer stages\.3: .*for others, use the \.pth"):
        explain(predictor, picture, layer="stages.3")
    with pytest.raises(InputError, match=r"no class 'ring'"):
        explain(predictor, picture, classes="ring")


def test_the_maps_layer_is_the_default_one_of_gradcam() -> None:
    model = model_of("mobilevitv2_050")
    assert mapper_of(model, "mobilevitv2_050", 64).layer == default_layer(model, torch.zeros(1, 3, 64, 64))
