"""Class-activation maps: which parts of a photograph are evidence for a class."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.text import nearest
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.images import Frame, centre_frame, read_image
from skinlesion_cli.inference.backend import Backend, require_finite
from skinlesion_cli.inference.predictor import Predictor
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.model_info import NEEDS_GRADIENTS
from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD, METHODS, require_method
from skinlesion_cli.saliency.faithfulness import Faithfulness, Probabilities, faithfulness
from skinlesion_cli.saliency.layers import as_grid, default_layer, forward_recorded, require_spatial


@dataclass(frozen=True)
class Explanation:
    """The class-activation map of one photograph for one class."""

    image: Image.Image
    """The whole photograph, upright, RGB."""
    frame: Frame
    """The part of it that the model saw."""
    heat: NDArray[np.float32]
    """(side, side): the map over the frame, in [0, 1]; all 0 without positive evidence for the class."""
    grid: tuple[int, int]
    """Rows and columns of the layer's output."""
    layer: str
    """The module whose output was mapped."""
    label: str
    """The class that the map explains."""
    confidence: float
    """The calibrated probability of the class, as in `predict`."""
    method: str = DEFAULT_METHOD
    """A key of `METHODS`."""
    raw: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(rows, columns): the map as the method computes it, ≥ 0, neither scaled nor enlarged."""
    faithfulness: Faithfulness | None = None
    """How well the map predicts which pixels the probability depends on; None if not measured."""
    predicted: str = ""
    """The predicted class, which need not be the explained one."""


def explain_classes(
    predictor: Predictor,
    photograph: Path | Image.Image,
    *,
    labels: Sequence[str] = (),
    top: int = 1,
    layer: str | None = None,
    method: str = DEFAULT_METHOD,
    measured: bool = False,
) -> list[Explanation]:
    """Map the evidence for some classes in fp32: one forward pass, and a backward pass per class.

    The first photograph of a model may take a second pass, to find the default layer. An image is upright
    and RGB. Without `labels`, the classes are the `top` most probable ones, in descending order; None for
    `layer` takes `default_layer`. With `measured`, the faithfulness of each map is measured, with about 260
    more forward passes.

    Raises:
        InputError: unknown class, layer or method, a layer whose output is not spatial, or an exported model.
        UnreadableImageError: the photograph cannot be read.
        SkinLesionError: the class does not depend on the layer's output, or the output is not a number.
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
    image = read_image(photograph) if isinstance(photograph, Path) else photograph
    pixels = view(image, backend.img_size, backend.resize)
    wanted = [classes.index(label) for label in labels]
    # Each photograph gets its own random maps, so that on average they favour no position.
    seed = zlib.crc32(pixels.tobytes())
    with backend.running():
        inputs = backend.inputs(torch.from_numpy(np.array(pixels))[None])
        layer = layer or default_layer(backend.model, inputs)
        maps, logits = class_activation_maps(
            backend.model,
            inputs,
            layer,
            lambda logits: wanted or torch.topk(logits, min(top, len(classes))).indices.tolist(),
            method,
        )
    probabilities = softmax(logits.cpu().numpy(), predictor.temperature)
    require_finite(probabilities)
    explanations, predicted = [], classes[int(probabilities.argmax())]
    for index, map_ in maps.items():
        heat, grid = enlarged(map_, backend.img_size), (map_.shape[0], map_.shape[1])
        probability = probability_of(backend, index, predictor.temperature)
        explanations.append(
            Explanation(
                image=image,
                frame=centre_frame(image.size, backend.img_size, backend.resize),
                heat=heat,
                grid=grid,
                layer=layer,
                label=classes[index],
                confidence=float(probabilities[index]),
                method=method,
                raw=map_.float().cpu().numpy(),
                faithfulness=faithfulness(probability, pixels, heat, grid, seed=seed) if measured else None,
                predicted=predicted,
            )
        )
    return explanations


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
        # Gradients only as far as the layer, and into no parameter's `.grad`.
        (gradient,) = torch.autograd.grad(logits[index], activation, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise SkinLesionError(
                f"the prediction does not depend on the layer {layer}; choose another with --layer"
            )
        maps[index] = METHODS[method].map_of(values, as_grid(model, layer, gradient, size))
    return maps, logits.detach().float()


def enlarged(map_: torch.Tensor, side: int) -> NDArray[np.float32]:
    """A map (rows, columns) resized to (side, side) and scaled to [0, 1]; an empty map stays 0."""
    heat = nn.functional.interpolate(map_[None, None].float(), size=(side, side), mode="bilinear")[0, 0]
    # An empty map is 0 / 0.
    scaled: NDArray[np.float32] = (heat / heat.max()).nan_to_num().cpu().numpy()
    return scaled


def probability_of(backend: Backend, index: int, temperature: float | None = None) -> Probabilities:
    """The calibrated probability of one class, as a function of a batch of bytes (n, 3, side, side)."""
    return lambda images: softmax(backend.outputs(images).logits, temperature)[:, index]
