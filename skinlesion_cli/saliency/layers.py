"""The layers of a backbone whose output is spatial, and that output as a grid of positions."""

import re
import threading
from collections.abc import Iterable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import nearest
from skinlesion_cli.models.backbone import last_stage

_FOUND: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
"""The default layer of each model that was searched."""
_LAYER_NORM = re.compile("layernorm|rmsnorm|simplenorm")


def default_layer(model: nn.Module, inputs: torch.Tensor) -> str:
    """Name of the last layer with a spatial output that the prediction depends on.

    This is the last of the feature stages that timm lists, or a layer normalisation after it: before one,
    HiResCAM is zero. If the output of the stage is not a grid, or only its class token is used, it is the
    last block or normalisation before it, which is found by one forward pass of `inputs` (1, 3, height,
    width), once per model.
    """
    if model not in _FOUND:
        _FOUND[model] = _search(model, inputs)
    return _FOUND[model]


def _search(model: nn.Module, inputs: torch.Tensor) -> str:
    modules: dict[str, nn.Module] = dict(model.named_modules())
    listed = last_stage(model)
    known = [name for name, module in modules.items() if name == listed or (name and _is_block(module))]
    if known[-1:] == [listed]:
        return known[-1]
    outputs, logits = forward_recorded(model, inputs, known) if known else ([], inputs)
    size = (inputs.shape[-2], inputs.shape[-1])
    grids = {name: output for name, output in outputs if _is_grid(model, output, size)}
    names = list(grids)
    if listed in grids:
        end = names.index(listed) + 1
        names = names[:end] + [name for name in names[end:] if _normalises_positions(modules[name])]
    for name in reversed(names):
        (gradient,) = torch.autograd.grad(logits[0, 0], grids[name], retain_graph=True, allow_unused=True)
        if gradient is not None and as_grid(model, name, gradient, size).any():
            return name
    # The head of an untrained model may be zero.
    if listed in grids:
        return str(listed)
    raise InputError(
        "timm does not list the spatial layers of this backbone, and none was found; choose one with --layer"
    )


def _is_block(module: nn.Module) -> bool:
    """Whether a module's output may be the network's whole state: not a single convolution or activation."""
    return next(module.children(), None) is not None or "norm" in type(module).__name__.lower()


def _normalises_positions(module: nn.Module) -> bool:
    return _LAYER_NORM.search(type(module).__name__.lower()) is not None


def forward_recorded(
    model: nn.Module, inputs: torch.Tensor, layers: Iterable[str]
) -> tuple[list[tuple[str, Any]], torch.Tensor]:
    """Run a model with gradients: names and outputs of `layers` in the order of computation, and its output.

    `inputs` are (1, 3, height, width). Other threads may use the model at the same time.
    """
    outputs: list[tuple[str, Any]] = []
    thread = threading.get_ident()

    def record(name: str, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        if threading.get_ident() != thread:
            return None
        outputs.append((name, output))
        # The model continues with a copy: a later in-place operation would change what was recorded.
        return output.clone() if isinstance(output, torch.Tensor) else None

    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            # Cached by an earlier prediction, as in ConViT: no gradient passes through it.
            if buffer.is_inference():
                setattr(module, name, buffer.clone())
    hooks = [model.get_submodule(name).register_forward_hook(partial(record, name)) for name in layers]
    try:
        with torch.enable_grad():
            return outputs, model(inputs.detach().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()


def require_spatial(model: nn.Module, layer: str) -> None:
    """Raise InputError unless there is such a module outside the transformer of a MobileViT block."""
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if layer not in modules or not layer:
        raise InputError(f"the backbone has no layer {layer!r}{nearest(layer, modules)}")
    # In a MobileViT block the transformer's output is (patch pixels × patches): it only looks like a grid.
    for name, module in modules.items():
        inside = f"{layer}.".startswith((f"{name}.transformer.", f"{name}.norm."))
        if inside and type(module).__name__ in {"MobileVitBlock", "MobileVitV2Block"}:
            fault = f"the output of layer {layer} is patch × position, which is not spatial"
            raise InputError(f"{fault}; use {name} or another with --layer")


def as_grid(model: nn.Module, layer: str, values: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
    """Rearrange a layer's output, or its gradient, as (channels, rows, columns).

    `values` are (1, C, H, W); (1, H, W, C) as in Swin; or tokens (1, N, C), class or register tokens first.
    The grid has the aspect ratio of the model's input, whose height and width are `image_size`, up to less
    than one row or column.
    """
    shape = tuple(values.shape)
    if len(shape) == 4 and shape[0] == 1:
        if _same_aspect(shape[2:], image_size):
            return values[0]
        if _same_aspect(shape[1:3], image_size):
            return values[0].permute(2, 0, 1)
    if len(shape) == 3 and shape[0] == 1:
        # Not every backbone declares its class token, or a second one for distillation.
        for prefix in (0, int(getattr(model, "num_prefix_tokens", 0) or 0), 1, 2):
            tokens = max(0, shape[1] - prefix)
            rows = max(1, round((tokens * image_size[0] / image_size[1]) ** 0.5))
            grid = (rows, tokens // rows)
            if tokens % rows == 0 and _same_aspect(grid, image_size) and _in_order(model, grid):
                return values[0, prefix:].reshape(rows, -1, shape[2]).permute(2, 0, 1)
    raise InputError(
        f"the output of layer {layer}, {shape}, is not a grid of positions; choose another with --layer"
    )


def _in_order(model: nn.Module, grid: tuple[int, ...]) -> bool:
    """Whether tokens are in row order: Hiera's are ordered by mask unit until there is one per unit."""
    return grid == tuple(getattr(model, "mask_spatial_shape", grid))


def _same_aspect(grid: tuple[int, ...], image_size: tuple[int, int]) -> bool:
    rows, columns = grid
    return min(grid) > 1 and abs(rows * image_size[1] - columns * image_size[0]) < min(image_size)


def _is_grid(model: nn.Module, output: Any, image_size: tuple[int, int]) -> bool:
    try:
        return isinstance(output, torch.Tensor) and as_grid(model, "", output, image_size) is not None
    except InputError:
        return False
