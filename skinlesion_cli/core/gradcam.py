"""Grad-CAM: where in a photograph the evidence for a class lies.

Source: Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*,
ICCV 2017, equations 1 and 2.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from skinlesion_cli.core.description import NEEDS_GRADIENTS
from skinlesion_cli.core.errors import InputError, SkinLesionError
from skinlesion_cli.core.images import Frame, centre_crop, centre_frame, read_image
from skinlesion_cli.core.inference import Answers, require_finite
from skinlesion_cli.core.predictor import Predictor
from skinlesion_cli.core.settings import nearest
from skinlesion_cli.core.torch_backend import TorchBackend


@dataclass(frozen=True)
class Explanation:
    """The class-activation map of one photograph for one class."""

    image: Image.Image
    """The whole photograph, upright, RGB."""
    frame: Frame
    """What the model saw of it."""
    heat: NDArray[np.float32]
    """(side, side): the map over the frame, in [0, 1]; all 0 where nothing speaks for the class."""
    grid: tuple[int, int]
    """Height and width of the layer that the map was taken from."""
    layer: str
    label: str
    """The class that the map is of."""
    confidence: float
    """The model's probability for it."""


def explain(
    predictor: Predictor, path: Path, *, label: str | None = None, layer: str | None = None
) -> Explanation:
    """Map the evidence for a class in a photograph, computed in fp32.

    Args:
        predictor: the model.
        path: the photograph.
        label: the class; the most probable one where None.
        layer: name of the module whose output is mapped; `default_layer` where None.

    Raises:
        InputError: unknown class or layer, a layer whose output is not spatial, or an exported model.
        UnreadableImageError: the photograph cannot be read.
        SkinLesionError: the class does not depend on the layer's output, or the answer is not a number.
    """
    classes = predictor.classes
    if label is not None and label not in classes:
        raise InputError(
            f"the model has no class {label!r}{nearest(label, classes)}; it has {', '.join(classes)}"
        )
    backend = predictor.backend
    if not isinstance(backend, TorchBackend):
        raise InputError(NEEDS_GRADIENTS)
    layer = layer or default_layer(backend.model)
    side = backend.img_size
    image = read_image(path)
    pixels = torch.from_numpy(np.array(centre_crop(image, side))).permute(2, 0, 1)[None]
    inputs = backend.inputs(pixels)
    target = None if label is None else classes.index(label)
    map_, logits = class_activation_map(backend.model, inputs, layer, target)
    probabilities = torch.softmax(logits.double(), dim=0)
    require_finite(Answers(probabilities[None].cpu().numpy()))
    chosen = int(logits.argmax()) if target is None else target
    heat = nn.functional.interpolate(
        map_[None, None], size=(side, side), mode="bilinear", align_corners=False
    )[0, 0]
    return Explanation(
        image=image,
        frame=centre_frame(image.size, side),
        heat=_to_unit_range(heat).cpu().numpy(),
        grid=(map_.shape[0], map_.shape[1]),
        layer=layer,
        label=classes[chosen],
        confidence=float(probabilities[chosen]),
    )


def class_activation_map(
    model: nn.Module, inputs: torch.Tensor, layer: str, target: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Grad-CAM of one input: ReLU(sum_k mean_ij(dy/dA_k,ij) A_k), A being the layer's output (eq. 1, 2).

    Args:
        model: in evaluation mode.
        inputs: (1, 3, height, width), normalised.
        layer: name of a module of the model.
        target: index of the class; the one with the largest logit where None.

    Returns:
        The map (rows, columns) of values ≥ 0, not scaled, and the logits (classes,).

    Raises:
        InputError: there is no such layer, or its output is not spatial.
        SkinLesionError: the class does not depend on the layer's output.
    """
    module = _named_module(model, layer)
    outputs: list[Any] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        with torch.enable_grad():
            logits = model(inputs.detach().requires_grad_())[0]
    finally:
        hook.remove()
    activation = outputs[-1] if outputs else None
    if not isinstance(activation, torch.Tensor):
        raise InputError(f"the layer {layer} puts out no single tensor; name another with --layer")
    index = int(logits.argmax()) if target is None else target
    (gradient,) = torch.autograd.grad(logits[index], activation, allow_unused=True)
    if gradient is None:
        raise SkinLesionError(f"the answer does not depend on the layer {layer}; name another with --layer")
    expected = (inputs.shape[-2], inputs.shape[-1])
    values = _as_grid(model, layer, activation.detach(), expected)
    weights = _as_grid(model, layer, gradient, expected).mean(dim=(1, 2))
    return torch.relu((weights[:, None, None] * values).sum(dim=0)), logits.detach().float()


def default_layer(model: nn.Module) -> str:
    """Name of the last layer whose output is truly spatial.

    timm lists the feature stages of its models; the last one is taken. Where that is an empty placeholder, as
    in MobileViTv2, it is the last stage that computes. Where a class token carries the answer, the patch
    tokens still count at the first normalisation of the last block.

    Raises:
        InputError: timm does not say; the user must name a layer.
    """
    stages: Any = getattr(model, "feature_info", None)
    stages = stages if isinstance(stages, list) else getattr(stages, "info", None)
    name = stages[-1].get("module") if stages else None
    modules = dict(model.named_modules())
    if name not in modules:
        raise InputError("this backbone does not say which of its layers are spatial; name one with --layer")
    if isinstance(modules[name], nn.Identity) and "stages" in modules:
        name = f"stages.{len(list(modules['stages'].children())) - 1}"
    if getattr(model, "num_prefix_tokens", 0) and f"{name}.norm1" in modules:
        name = f"{name}.norm1"
    return str(name)


def _named_module(model: nn.Module, layer: str) -> nn.Module:
    modules = dict(model.named_modules())
    if layer not in modules or not layer:
        raise InputError(f"the backbone has no layer {layer!r}{nearest(layer, modules)}")
    # Inside a MobileViT block the transformer's output is (patch pixels × patches): a grid only in shape.
    for name, module in modules.items():
        if type(module).__name__ in {"MobileVitBlock", "MobileVitV2Block"}:
            for inner in ("transformer", "norm"):
                if f"{layer}.".startswith(f"{name}.{inner}."):
                    raise InputError(
                        f"the layer {layer} puts out patch × position, not a picture; use {name} or another "
                        "with --layer"
                    )
    found: nn.Module = modules[layer]
    return found


def _as_grid(model: nn.Module, layer: str, values: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
    """Bring one layer's output, or its gradient, to (channels, rows, columns).

    Accepted: (1, C, H, W); (1, H, W, C) as Swin has it; tokens (1, N, C), any class or register tokens first.
    """
    shape = tuple(values.shape)
    if len(shape) == 4 and shape[0] == 1:
        if _same_aspect(shape[2:], image_size):
            return values[0]
        if _same_aspect(shape[1:3], image_size):
            return values[0].permute(2, 0, 1)
    if len(shape) == 3 and shape[0] == 1:
        for prefix in (0, int(getattr(model, "num_prefix_tokens", 0) or 0)):
            grid = _grid_of(shape[1] - prefix, image_size)
            if grid is not None:
                return values[0, prefix:].reshape(*grid, shape[2]).permute(2, 0, 1)
    raise InputError(
        f"the layer {layer} puts out {shape}, which is no grid of positions; name another with --layer"
    )


def _same_aspect(grid: tuple[int, ...], image_size: tuple[int, int]) -> bool:
    rows, columns = grid
    return min(grid) > 1 and rows * image_size[1] == columns * image_size[0]


def _grid_of(tokens: int, image_size: tuple[int, int]) -> tuple[int, int] | None:
    rows = round((tokens * image_size[0] / image_size[1]) ** 0.5) if tokens > 1 else 0
    fits = rows > 1 and tokens % rows == 0 and _same_aspect((rows, tokens // rows), image_size)
    return (rows, tokens // rows) if fits else None


def _to_unit_range(heat: torch.Tensor) -> torch.Tensor:
    peak = heat.max()
    return heat / peak if peak > 0 else torch.zeros_like(heat)
