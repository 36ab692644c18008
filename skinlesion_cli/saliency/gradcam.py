"""Class-activation maps: where in a photograph the evidence for a class lies."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.settings import nearest
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.images import Frame, centre_frame, read_image
from skinlesion_cli.inference.backend import require_finite
from skinlesion_cli.inference.predictor import Predictor
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.model_info import NEEDS_GRADIENTS
from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD, METHODS, require_method
from skinlesion_cli.saliency.faithfulness import Faithfulness, Probabilities, faithfulness
from skinlesion_cli.saliency.layers import as_grid, default_layer, named_module


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
    """The model's probability for it, calibrated as `predict` gives it."""
    method: str = DEFAULT_METHOD
    """The kind of map, a key of `METHODS`."""
    raw: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(rows, columns) of the grid: the map as the method gives it, ≥ 0, neither scaled nor enlarged."""
    faithfulness: Faithfulness | None = None
    """How the probability follows the map; None where it was not measured."""


def explain(
    predictor: Predictor,
    path: Path,
    *,
    label: str | None = None,
    layer: str | None = None,
    method: str = DEFAULT_METHOD,
) -> Explanation:
    """Map the evidence for one class in a photograph, computed in fp32.

    Args:
        predictor: the model.
        path: the photograph.
        label: the class; the most probable one where None.
        layer: name of the module whose output is mapped; `default_layer` where None.
        method: the kind of map, a key of `METHODS`.

    Raises:
        InputError: unknown class, layer or method, a layer whose output is not spatial, or an exported model.
        UnreadableImageError: the photograph cannot be read.
        SkinLesionError: the class does not depend on the layer's output, or the answer is not a number.
    """
    labels = () if label is None else (label,)
    (explanation,) = explain_classes(predictor, path, labels=labels, layer=layer, method=method)
    return explanation


def explain_classes(
    predictor: Predictor,
    path: Path,
    *,
    labels: Sequence[str] = (),
    top: int = 1,
    layer: str | None = None,
    method: str = DEFAULT_METHOD,
    measured: bool = False,
) -> list[Explanation]:
    """Map the evidence for several classes, with one forward pass and a backward pass for each class.

    Args:
        predictor: the model.
        path: the photograph.
        labels: the classes; the most probable ones where there are none.
        top: how many of these, best first; all where the model has fewer.
        layer: as in `explain`.
        method: as in `explain`.
        measured: whether each map's faithfulness is measured, at about 260 more looks at the photograph.

    Raises:
        The errors of `explain`.
    """
    classes = predictor.classes
    for label in labels:
        if label not in classes:
            raise InputError(
                f"the model has no class {label!r}{nearest(label, classes)}; it has {', '.join(classes)}"
            )
    backend = predictor.backend
    if not isinstance(backend, TorchBackend):
        raise InputError(NEEDS_GRADIENTS)
    layer = layer or default_layer(backend.model)
    image = read_image(path)
    pixels = view(image, backend.img_size)
    wanted = [classes.index(label) for label in labels]
    # Each photograph has random maps of its own: over many of them, no place is favoured.
    seed = zlib.crc32(pixels.tobytes())
    maps, logits = class_activation_maps(
        backend.model,
        backend.inputs(torch.from_numpy(np.array(pixels))[None]),
        layer,
        lambda logits: wanted or torch.topk(logits, min(top, len(classes))).indices.tolist(),
        method,
    )
    probabilities = softmax(logits.cpu().numpy(), predictor.temperature)
    require_finite(probabilities)
    explanations = []
    for index, map_ in maps.items():
        heat = enlarged(map_, backend.img_size)
        explanations.append(
            Explanation(
                image=image,
                frame=centre_frame(image.size, backend.img_size),
                heat=heat,
                grid=(map_.shape[0], map_.shape[1]),
                layer=layer,
                label=classes[index],
                confidence=float(probabilities[index]),
                method=method,
                raw=map_.float().cpu().numpy(),
                faithfulness=faithfulness(
                    probability_of(backend, index, predictor.temperature),
                    pixels,
                    heat,
                    tuple(map_.shape),
                    seed=seed,
                )
                if measured
                else None,
            )
        )
    return explanations


def class_activation_map(
    model: nn.Module,
    inputs: torch.Tensor,
    layer: str,
    target: int | None = None,
    method: str = DEFAULT_METHOD,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The map of one class.

    Args:
        model: as in `class_activation_maps`.
        inputs: likewise.
        layer: likewise.
        target: index of the class; the one with the largest logit where None.
        method: as in `class_activation_maps`.

    Returns:
        The map (rows, columns) of values ≥ 0, not scaled, and the logits (classes,).

    Raises:
        The errors of `class_activation_maps`.
    """
    maps, logits = class_activation_maps(
        model, inputs, layer, lambda logits: [int(logits.argmax()) if target is None else target], method
    )
    return next(iter(maps.values())), logits


def class_activation_maps(
    model: nn.Module,
    inputs: torch.Tensor,
    layer: str,
    choose: Callable[[torch.Tensor], Sequence[int]],
    method: str = DEFAULT_METHOD,
) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
    """The maps of one input for several classes. Neither a hook nor a graph is left behind.

    Args:
        model: in evaluation mode.
        inputs: (1, 3, height, width), normalised.
        layer: name of a module of the model.
        choose: gives the indices of the classes, from the logits.
        method: a key of `METHODS`.

    Returns:
        By class, in the order of `choose`, the map (rows, columns) of values ≥ 0, not scaled; and the logits
        (classes,).

    Raises:
        InputError: there is no such method or layer, or the layer's output is not spatial.
        SkinLesionError: the class does not depend on the layer's output.
    """
    require_method(method)
    module = named_module(model, layer)
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
    size = (inputs.shape[-2], inputs.shape[-1])
    values = as_grid(model, layer, activation.detach(), size)
    maps = {}
    for index in choose(logits.detach()):
        # The gradients go down to the layer and no further, and into no parameter's `.grad`.
        (gradient,) = torch.autograd.grad(logits[index], activation, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise SkinLesionError(
                f"the answer does not depend on the layer {layer}; name another with --layer"
            )
        maps[index] = METHODS[method].map_of(values, as_grid(model, layer, gradient, size))
    return maps, logits.detach().float()


def enlarged(map_: torch.Tensor, side: int) -> NDArray[np.float32]:
    """A map (rows, columns) at the input's size, (side, side), scaled to [0, 1]; an empty one stays 0."""
    heat = nn.functional.interpolate(
        map_[None, None].float(), size=(side, side), mode="bilinear", align_corners=False
    )[0, 0]
    peak = heat.max()
    scaled: NDArray[np.float32] = (heat / peak if peak > 0 else torch.zeros_like(heat)).cpu().numpy()
    return scaled


def probability_of(backend: TorchBackend, index: int, temperature: float | None = None) -> Probabilities:
    """The calibrated probability of one class, as a function of a batch of bytes (n, 3, side, side)."""
    return lambda images: softmax(backend.outputs(images).logits, temperature)[:, index]
