"""The layers of a backbone whose output is spatial, and that output as a grid of positions."""

from typing import Any

import torch
from torch import nn

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import nearest


def default_layer(model: nn.Module) -> str:
    """Name of the last layer whose output is spatial.

    This is the last of the feature stages that timm lists. If that is an empty placeholder, as in
    MobileViTv2, it is the last stage that computes something. In a transformer with a class token it is the
    first normalisation of the last block, the last layer where the prediction still depends on the patch
    tokens. Where timm lists no stages, the user must name a layer.
    """
    stages: Any = getattr(model, "feature_info", None)
    stages = stages if isinstance(stages, list) else getattr(stages, "info", None)
    name = stages[-1].get("module") if stages else None
    modules = dict(model.named_modules())
    if name not in modules:
        raise InputError("timm does not list the spatial layers of this backbone; choose one with --layer")
    if isinstance(modules[name], nn.Identity) and "stages" in modules:
        name = f"stages.{len(list(modules['stages'].children())) - 1}"
    if getattr(model, "num_prefix_tokens", 0) and f"{name}.norm1" in modules:
        name = f"{name}.norm1"
    return str(name)


def named_module(model: nn.Module, layer: str) -> nn.Module:
    """The module of this name, unless it is inside a MobileViT block, where the output is not spatial."""
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if layer not in modules or not layer:
        raise InputError(f"the backbone has no layer {layer!r}{nearest(layer, modules)}")
    # In a MobileViT block the transformer's output is (patch pixels × patches): it only looks like a grid.
    for name, module in modules.items():
        inside = f"{layer}.".startswith((f"{name}.transformer.", f"{name}.norm."))
        if inside and type(module).__name__ in {"MobileVitBlock", "MobileVitV2Block"}:
            fault = f"the output of layer {layer} is patch × position, which is not spatial"
            raise InputError(f"{fault}; use {name} or another with --layer")
    return modules[layer]


def as_grid(model: nn.Module, layer: str, values: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
    """Rearrange a layer's output, or its gradient, as (channels, rows, columns).

    `values` are (1, C, H, W); (1, H, W, C) as in Swin; or tokens (1, N, C), class or register tokens first.
    The grid has the aspect ratio of the model's input, whose height and width are `image_size`.
    """
    shape = tuple(values.shape)
    if len(shape) == 4 and shape[0] == 1:
        if _same_aspect(shape[2:], image_size):
            return values[0]
        if _same_aspect(shape[1:3], image_size):
            return values[0].permute(2, 0, 1)
    if len(shape) == 3 and shape[0] == 1:
        for prefix in (0, int(getattr(model, "num_prefix_tokens", 0) or 0)):
            tokens = max(0, shape[1] - prefix)
            rows = max(1, round((tokens * image_size[0] / image_size[1]) ** 0.5))
            if tokens % rows == 0 and _same_aspect((rows, tokens // rows), image_size):
                return values[0, prefix:].reshape(rows, -1, shape[2]).permute(2, 0, 1)
    raise InputError(
        f"the output of layer {layer}, {shape}, is not a grid of positions; choose another with --layer"
    )


def _same_aspect(grid: tuple[int, ...], image_size: tuple[int, int]) -> bool:
    rows, columns = grid
    return min(grid) > 1 and rows * image_size[1] == columns * image_size[0]
