import gc
import math
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from scipy.stats import spearmanr

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.framing import seen_frame
from skinlesion_cli.data.images import read_image
from skinlesion_cli.inference.predictor import Predictor, load_predictor
from skinlesion_cli.saliency.explanation import Explanation, explain_classes
from skinlesion_cli.saliency.gradcam import class_activation_maps
from skinlesion_cli.saliency.layers import default_layer
from tests.support.known_location import bright_pixels, picture_with_blob
from tests.support.maps import class_activation_map, model_of


def explain(predictor: Predictor, path: Path, *, label: str | None = None, **options: str) -> Explanation:
    (explanation,) = explain_classes(predictor, path, labels=[label] if label else [], **options)
    return explanation


def to_unit(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


REFERENCES = {"gradcam": GradCAM, "gradcam++": GradCAMPlusPlus, "hirescam": HiResCAM, "layercam": LayerCAM}


@pytest.mark.parametrize(
    ("arch", "layer", "size", "methods"),
    [
        ("resnet10t", "layer4", 96, tuple(REFERENCES)),
        ("mobilevitv2_050", "stages.4", 128, tuple(REFERENCES)),
        ("mobilevitv2_100", "stages.4", 256, ("gradcam",)),
    ],
)
def test_maps_equal_the_reference_implementation(
    arch: str, layer: str, size: int, methods: tuple[str, ...]
) -> None:
    model = model_of(arch)
    inputs = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    assert default_layer(model, inputs) == layer
    # The reference adds 1e-6 to Grad-CAM++'s denominator, of the order of a squared gradient. Untrained
    # gradients are so small that this guard alone would be compared; a larger head makes them large.
    with torch.no_grad():
        model.get_classifier().weight *= 1e5
    for method in methods:
        maps, _ = class_activation_maps(model, inputs, layer, lambda _: range(5), method)
        # Scaled both alike; a map that is constant, or empty, has no scale.
        target, ours = next((index, map_) for index, map_ in maps.items() if map_.max() > map_.min())
        with REFERENCES[method](model=model, target_layers=[model.get_submodule(layer)]) as reference:
            theirs = reference(inputs, [ClassifierOutputTarget(target)])[0]
        enlarged = torch.nn.functional.interpolate(ours[None, None], size=(size, size), mode="bilinear")[0, 0]
        assert np.abs(to_unit(enlarged.numpy()) - to_unit(theirs)).max() < 1e-4, method


def test_an_explanation_is_of_the_pixels_that_the_model_saw(checkpoint: Path, picture: Path) -> None:
    predictor = load_predictor(checkpoint)
    explanation = explain(predictor, picture, label="synthetic crust")
    image = read_image(picture)
    assert explanation.image.size == image.size
    assert explanation.frame == seen_frame(image.size, 64)
    assert explanation.heat.shape == (64, 64)
    assert explanation.heat.max() in (0, 1)
    assert explanation.label == "synthetic crust"
    answer = predictor.predict(picture)
    assert explanation.confidence == pytest.approx(answer.probabilities["synthetic crust"], abs=1e-5)
    assert explain(predictor, picture).label == answer.label
    with pytest.raises(InputError, match=r"no class 'crust'.*it has synthetic blotch"):
        explain(predictor, picture, label="crust")


def test_the_map_follows_a_lesion_that_moves() -> None:
    # Linear in the last layer: a network that averages brightness lights up where the picture is bright.
    model = torch.nn.Sequential(
        torch.nn.AvgPool2d(16), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2)
    ).eval()
    torch.nn.init.ones_(model[3].weight)
    inputs = torch.zeros(1, 3, 64, 64)
    inputs[:, :, 48:, 16:32] = 1
    map_, _ = class_activation_map(model, inputs, "0", 0)
    assert (map_.argmax() // 4, map_.argmax() % 4) == (3, 1)
    assert int((map_ > 0).sum()) == 1


def test_several_classes_are_those_of_single_maps(checkpoint: Path, picture: Path) -> None:
    predictor = load_predictor(checkpoint)
    several = explain_classes(predictor, picture, top=9)
    assert {one.label: one.confidence for one in several} == pytest.approx(
        predictor.predict(picture).probabilities
    )
    assert [one.confidence for one in several] == sorted((one.confidence for one in several), reverse=True)
    for one in several:
        alone = explain(predictor, picture, label=one.label)
        np.testing.assert_allclose(one.raw, alone.raw, atol=1e-7)
        np.testing.assert_allclose(one.heat, alone.heat, atol=1e-6)
    with pytest.raises(InputError, match=r"no method 'layercam2'; did you mean layercam"):
        explain(predictor, picture, method="layercam2")


def test_the_probability_is_the_calibrated_one(tmp_path: Path) -> None:
    path = tmp_path / "blob.png"
    picture_with_blob((90, 70), (38, 28)).save(path)
    confidences = [explain(bright_pixels(temperature), path).confidence for temperature in (1, 3)]
    logits = [math.log(value / (1 - value)) for value in confidences]
    assert logits[0] == pytest.approx(3 * logits[1], rel=1e-6)


def test_neither_hook_nor_graph_stays_behind(tmp_path: Path) -> None:
    path = tmp_path / "blob.png"
    picture_with_blob((90, 70), (38, 28)).save(path)
    predictor = bright_pixels()
    model = predictor.backend.model
    seen: list[weakref.ref[torch.Tensor]] = []
    own = model.cells.register_forward_hook(lambda *call: seen.append(weakref.ref(call[2])))
    gc.disable()  # What is freed must be freed by its last reference, not by chance.
    try:
        explain_classes(predictor, path, top=2)
        assert len(seen) == 1, "one forward pass"
        assert seen[0]() is None, "the activation, and with it the graph, is still held"
        with pytest.raises(InputError, match="the backbone has no layer 'nowhere'"):
            explain(predictor, path, layer="nowhere")
    finally:
        gc.enable()
        own.remove()
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("method", REFERENCES)
def test_maps_show_what_was_learned(method: str) -> None:
    """The randomisation test of Adebayo et al. (2018): with other weights, another map."""

    def network() -> torch.nn.Sequential:
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 12, 8, stride=8),
            torch.nn.ReLU(),
            torch.nn.Conv2d(12, 12, 1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(12, 2),
        )

    def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Noise with a red or a green cell: which one is the class."""
        images, labels = torch.rand(count, 3, 64, 64), torch.arange(count) % 2
        cells = torch.randint(8, (count, 2))
        for image, label, (row, column) in zip(images, labels, cells, strict=True):
            image[label, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 1
        return images, labels, cells

    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(80):
        images, labels, _ = drawn(32)
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    images, labels, cells = drawn(12)
    hits, correlations = 0, []
    for image, label, (row, column) in zip(images, labels.tolist(), cells.tolist(), strict=True):
        learned, _ = class_activation_map(model, image[None], "3", label, method)
        hits += int(learned.argmax()) == 8 * row + column
        for _ in range(4):
            other, _ = class_activation_map(network(), image[None], "3", label, method)
            if other.max() > other.min():
                correlations.append(spearmanr(learned.ravel(), other.ravel()).statistic)
    assert hits >= 11
    assert len(correlations) > 20
    assert abs(np.mean(correlations)) < 0.3
