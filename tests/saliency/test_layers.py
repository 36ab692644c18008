"""Which layers are mapped by default, which are refused, and that a layer's own output is mapped."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import nn

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.saliency.cam_methods import METHODS
from skinlesion_cli.saliency.explanation import explain_classes
from skinlesion_cli.saliency.gradcam import class_activation_maps
from skinlesion_cli.saliency.layers import as_grid, default_layer
from tests.support.known_location import bright_pixels, picture_with_blob
from tests.support.maps import class_activation_map, model_of


@pytest.mark.parametrize(
    ("arch", "layer", "size", "grid", "options"),
    [
        ("mobilevitv2_100", "stages.4", 256, (8, 8), {}),
        ("tf_efficientnet_lite0", "blocks.6", 128, (4, 4), {}),
        ("convnext_atto", "stages.3", 64, (2, 2), {}),
        ("mobilevit_xxs", "final_conv", 64, (2, 2), {}),
        ("vit_tiny_patch16_224", "blocks.11.norm1", 96, (6, 6), {"img_size": 96}),
        # Before a layer normalisation, HiResCAM is zero.
        ("swin_tiny_patch4_window7_224", "norm", 224, (7, 7), {}),
        # timm lists no stages, or stages that are no grids.
        ("mvitv2_tiny", "norm", 64, (2, 2), {}),
        ("twins_svt_small", "norm", 64, (2, 2), {}),
        ("hrnet_w18_small", "final_layer", 64, (2, 2), {}),
        ("efficientvim_m1", "norm.3", 128, (2, 2), {}),
        # Only the class token is used after these.
        ("pit_xs_224", "transformers.2.blocks.3.norm1", 96, (3, 3), {"img_size": 96}),
        ("tnt_s_legacy_patch16_224", "blocks.11.norm_out", 64, (4, 4), {"img_size": 64}),
        ("coat_tiny", "parallel_blocks.5.norm14", 64, (2, 2), {"img_size": 64}),
        ("crossvit_tiny_240", "blocks.2.fusion.1.norm1", 240, (20, 20), {}),
        ("convit_tiny", "blocks.11.norm1", 96, (6, 6), {"img_size": 96}),
    ],
)
def test_the_default_layer_is_spatial(
    arch: str, layer: str, size: int, grid: tuple[int, int], options: dict[str, int]
) -> None:
    model = model_of(arch, **options)
    torch.manual_seed(2)
    inputs = torch.randn(1, 3, size, size)
    assert default_layer(model, inputs) == layer
    map_, logits = class_activation_map(model, inputs, layer)
    assert tuple(map_.shape) == grid
    assert map_.min() >= 0
    assert logits.shape == (5,)


def test_a_vits_tokens_are_folded_in_their_order() -> None:
    # The gradient of one patch token's feature must light up that patch and no other.
    model = model_of("vit_tiny_patch16_224", img_size=64)
    seen = {}
    hook = model.blocks[11].norm1.register_forward_hook(lambda *call: seen.update(tokens=call[2]))
    model(torch.randn(1, 3, 64, 64))
    hook.remove()
    grid = as_grid(model, "x", seen["tokens"], (64, 64))
    assert torch.equal(grid[:, 2, 3], seen["tokens"][0, 1 + 2 * 4 + 3])


@pytest.mark.parametrize("layer", ["stages.4.1.transformer", "stages.4.1.transformer.0", "stages.4.1.norm"])
def test_the_inner_transformer_is_never_taken(layer: str) -> None:
    # At 128 pixels its output is 4 × 4: four patch pixels by four patches, a grid in shape alone.
    with pytest.raises(InputError, match="patch × position"):
        class_activation_map(model_of("mobilevitv2_050"), torch.zeros(1, 3, 128, 128), layer)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("head.fc", "not a grid"),
        ("stage.4", "no layer 'stage.4'; did you mean stages.4"),
        ("", "no layer ''"),
    ],
)
def test_a_layer_that_cannot_be_mapped_is_refused(layer: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        class_activation_map(model_of("mobilevitv2_050"), torch.zeros(1, 3, 64, 64), layer, 0)


def test_a_layer_that_does_not_affect_the_prediction_is_refused() -> None:
    model = model_of("resnet10t")
    model.unused = torch.nn.Identity()
    with pytest.raises(InputError, match="is not a single tensor"):
        class_activation_map(model, torch.zeros(1, 3, 64, 64), "unused", 0)
    with pytest.raises(InputError, match="timm does not list the spatial layers of this backbone"):
        default_layer(torch.nn.Linear(1, 1), torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("arch", "before", "options"),
    [
        (
            "swin_tiny_patch4_window7_224",
            "layers.3",
            {"img_size": 64, "depths": (1, 1, 1, 1), "embed_dim": 24},
        ),
        ("focalnet_tiny_srf", "layers.3", {}),
    ],
)
def test_rounding_noise_before_a_layer_normalisation_is_no_evidence(
    arch: str, before: str, options: dict[str, object]
) -> None:
    # Σ_k g_k A_k is zero there: the normalisation undoes any change along A.
    model, inputs = model_of(arch, **options), torch.randn(1, 3, 64, 64)
    maps, _ = class_activation_maps(model, inputs, before, lambda _: range(5), "hirescam")
    assert not any(map_.any() for map_ in maps.values())
    after = default_layer(model, inputs)
    assert after == "norm"
    maps, _ = class_activation_maps(model, inputs, after, lambda _: range(5), "hirescam")
    assert any(map_.any() for map_ in maps.values())
    for index, map_ in maps.items():
        # Only a mean and a linear layer follow.
        torch.testing.assert_close(map_, class_activation_map(model, inputs, after, index)[0])


def test_small_evidence_on_a_large_grid_is_not_taken_for_noise() -> None:
    activation = torch.full((2, 64, 64), 1e-6)
    assert (METHODS["hirescam"].map_of(activation, torch.full_like(activation, 1e-6)) > 0).all()


def replace_by_leaf(
    leaves: list[torch.Tensor], _module: nn.Module, _inputs: object, output: torch.Tensor
) -> torch.Tensor:
    leaves.append(output.detach().clone().requires_grad_())
    return leaves[-1].clone()


def test_a_layer_is_mapped_as_it_was_before_later_in_place_operations() -> None:
    model, inputs = model_of("resnet10t"), torch.randn(1, 3, 48, 48)
    compared = 0
    for name, module in model.named_modules():
        leaves: list[torch.Tensor] = []
        with module.register_forward_hook(partial(replace_by_leaf, leaves)):
            logit = model(inputs)[0, 0]
        if name and leaves and leaves[0].ndim == 4 and leaves[0].shape[-1] > 1:
            (gradient,) = torch.autograd.grad(logit, leaves)
            expected = (gradient * leaves[0])[0].sum(dim=0).clamp(min=0).detach()
            map_, _ = class_activation_map(model, inputs, name, 0, "hirescam")
            torch.testing.assert_close(map_, expected, msg=name)
            compared += 1
    assert compared > 30


def test_tokens_that_are_not_in_rows_are_refused() -> None:
    model = model_of("hiera_tiny_224", img_size=64)
    inputs = torch.randn(1, 3, 64, 64)
    assert default_layer(model, inputs) == "blocks.11"
    with pytest.raises(InputError, match="is not a grid of positions"):
        class_activation_map(model, inputs, "blocks.2", 0)


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_a_grid_need_not_be_square_and_class_tokens_are_left_out(prefix: int) -> None:
    tokens = torch.arange(28 + prefix).float()[None, :, None]
    grid = as_grid(nn.Identity(), "x", tokens, (100, 60))
    assert grid.shape == (1, 7, 4)
    assert grid[0, 0, 0] == prefix
    assert as_grid(nn.Identity(), "x", torch.zeros(1, 9, 7, 4), (100, 60)).shape == (9, 7, 4)


def test_a_model_is_searched_once_and_after_a_prediction() -> None:
    model, inputs = model_of("convit_tiny", img_size=64), torch.randn(1, 3, 64, 64)
    calls: list[int] = []
    # What the model caches now cannot take part in a gradient.
    with torch.inference_mode():
        model(inputs)
    with model.register_forward_hook(lambda *_: calls.append(1)):
        assert default_layer(model, inputs) == default_layer(model, inputs)
    assert len(calls) == 1
    assert not any(module._forward_hooks for module in model.modules())


def test_threads_share_a_model() -> None:
    predictor = bright_pixels()
    pictures = [picture_with_blob((90, 70), (20 + 2 * number, 35)) for number in range(24)]
    alone = [explain_classes(predictor, picture)[0].heat for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda picture: explain_classes(predictor, picture)[0].heat, pictures * 8))
    for number, heat in enumerate(together):
        assert (heat == alone[number % 24]).all()
