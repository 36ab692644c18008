"""Class-activation maps of a torch model, from the gradients of its logits."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD, METHODS, require_method
from skinlesion_cli.saliency.explanation import Choose, Mapped
from skinlesion_cli.saliency.layers import as_grid, default_layer, forward_recorded, require_spatial


def maps_by_gradient(
    backend: TorchBackend, pixels: NDArray[np.uint8], choose: Choose, layer: str | None, method: str
) -> Mapped:
    """The maps of one view (3, side, side), in fp32: one forward pass, and a backward pass per class.

    The first view of a model may take a second pass, to find the `default_layer`, if none is given.

    Raises:
        InputError: unknown layer or method, or a layer whose output is not spatial.
        SkinLesionError: the class does not depend on the layer's output.
    """
    with backend.running():
        inputs = backend.inputs(torch.from_numpy(np.array(pixels))[None])
        layer = layer or default_layer(backend.model, inputs)
        maps, logits = class_activation_maps(
            backend.model, inputs, layer, lambda logits: choose(logits.cpu().numpy()), method
        )
    plain = {index: map_.float().cpu().numpy() for index, map_ in maps.items()}
    return Mapped(layer, plain, logits.cpu().numpy())


def class_activation_maps(
    model: nn.Module,
    inputs: torch.Tensor,
    layer: str,
    choose: Callable[[torch.Tensor], Sequence[int]],
    method: str = DEFAULT_METHOD,
) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
    """The maps of one input for several classes, and the logits (classes,). No hook and no graph is kept.

    The model is in evaluation mode, `inputs` are (1, 3, height, width), normalised; `choose` returns the
    indices of the classes, given the logits. The maps, in that order, are (rows, columns), ≥ 0, not scaled.
    """
    require_method(method)
    require_spatial(model, layer)
    outputs, batch = forward_recorded(model, inputs, [layer])
    logits = batch[0]
    activation = outputs[-1][1] if outputs else None
    if not isinstance(activation, torch.Tensor):
        raise InputError(f"the output of layer {layer} is not a single tensor; choose another with --layer")
    size = (inputs.shape[-2], inputs.shape[-1])
    values = as_grid(model, layer, activation.detach(), size)
    maps = {}
    for index in choose(logits.detach()):
        # Gradients only back to the layer, and not into the `.grad` of any parameter.
        (gradient,) = torch.autograd.grad(logits[index], activation, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise SkinLesionError(
                f"the prediction does not depend on the layer {layer}; choose another with --layer"
            )
        maps[index] = METHODS[method].map_of(values, as_grid(model, layer, gradient, size))
    return maps, logits.detach().float()
