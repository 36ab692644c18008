"""The class-activation maps of one photograph. torch is not imported for an .onnx with its own maps."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import nearest
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.framing import Frame, seen_frame
from skinlesion_cli.data.images import read_image
from skinlesion_cli.inference.backend import Backend, require_finite
from skinlesion_cli.inference.onnx_backend import OnnxBackend
from skinlesion_cli.inference.predictor import Predictor
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD, SAME_AS_CAM, require_method
from skinlesion_cli.saliency.faithfulness import Faithfulness, Probabilities, faithfulness


@dataclass(frozen=True)
class Explanation:
    """The class-activation map of one photograph for one class."""

    image: Image.Image
    """The whole photograph, upright, RGB."""
    frame: Frame
    """The part of it that the model saw; for `fit` pad, its edges are the outer edges of the border."""
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
    """The predicted class, which may differ from the explained one."""


Choose = Callable[[NDArray[np.floating]], Sequence[int]]
"""Chooses the indices of the classes to map, given the logits (classes,)."""


@dataclass(frozen=True)
class Mapped:
    """The maps of one view."""

    layer: str
    maps: dict[int, NDArray[np.float32]]
    """By class index, in the order chosen: (rows, columns), ≥ 0, not scaled."""
    logits: NDArray[np.floating]
    """(classes,), before any temperature."""


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
    """Map the evidence for some classes: by gradients, or with the maps that an exported model computes.

    An image is upright and RGB. Without `labels`, the classes are the `top` most probable ones, in descending
    order; None for `layer` takes the last spatial layer. With `measured`, the faithfulness of each map is
    measured, with about 260 additional forward passes.

    Raises:
        InputError: unknown class, layer or method, or one that the model does not support.
        UnreadableImageError: the photograph cannot be read.
        SkinLesionError: the class does not depend on the layer's output, or the output is not finite.
    """
    classes, backend, temperature = predictor.classes, predictor.backend, predictor.temperature
    wanted = _indices_of(labels, classes)

    def choose(logits: NDArray[np.floating]) -> Sequence[int]:
        return wanted or np.argsort(-logits, kind="stable")[:top].tolist()

    image = read_image(photograph) if isinstance(photograph, Path) else photograph
    pixels = view(image, backend.img_size, backend.resize)
    # Each photograph gets its own random maps, so that on average they favour no position.
    seed = zlib.crc32(pixels.tobytes())
    found = _mapped(backend, pixels, choose, layer, method)
    probabilities = softmax(found.logits, temperature)
    require_finite(probabilities)
    explanations, predicted = [], classes[int(probabilities.argmax())]
    for index, map_ in found.maps.items():
        heat, grid = enlarged(map_, backend.img_size), (map_.shape[0], map_.shape[1])
        probability = probability_of(backend, index, temperature)
        explanations.append(
            Explanation(
                image=image,
                frame=seen_frame(image.size, backend.img_size, backend.resize),
                heat=heat,
                grid=grid,
                layer=found.layer,
                label=classes[index],
                confidence=float(probabilities[index]),
                method=method,
                raw=map_,
                faithfulness=faithfulness(probability, pixels, heat, grid, seed=seed) if measured else None,
                predicted=predicted,
            )
        )
    return explanations


def _mapped(
    backend: Backend, pixels: NDArray[np.uint8], choose: Choose, layer: str | None, method: str
) -> Mapped:
    if isinstance(backend, OnnxBackend):
        return _maps_inside(backend, pixels, choose, layer, method)
    from skinlesion_cli.inference.torch_backend import TorchBackend
    from skinlesion_cli.saliency.gradcam import maps_by_gradient

    assert isinstance(backend, TorchBackend)
    return maps_by_gradient(backend, pixels, choose, layer, method)


def _maps_inside(
    backend: OnnxBackend, pixels: NDArray[np.uint8], choose: Choose, layer: str | None, method: str
) -> Mapped:
    """The maps that an .onnx of `export --cam` computes beside its logits."""
    require_method(method)
    if backend.cam is None:
        raise InputError(
            f"{backend.path} contains no class-activation maps: export it again with --cam, or use the .pth"
        )
    if method not in SAME_AS_CAM or layer not in (None, backend.cam.layer):
        asked = f"--layer {layer}" if method in SAME_AS_CAM else f"--method {method}"
        raise InputError(
            f"{asked}: {backend.path} contains the maps of {backend.cam.layer}, which are those of "
            f"{' and '.join(SAME_AS_CAM)}; for others, use the .pth"
        )
    outputs = backend.outputs(pixels[None])
    assert outputs.maps is not None
    maps = np.maximum(outputs.maps[0], 0)
    return Mapped(backend.cam.layer, {one: maps[one] for one in choose(outputs.logits[0])}, outputs.logits[0])


def _indices_of(labels: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The indices of some classes; InputError, with similar names, if the model does not have one."""
    for label in labels:
        if label not in classes:
            raise InputError(
                f"the model has no class {label!r}{nearest(label, classes)}; it has {', '.join(classes)}"
            )
    return [classes.index(label) for label in labels]


def enlarged(map_: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A map (rows, columns) resized to (side, side) and scaled to [0, 1]; an empty map stays 0."""
    heat = np.asarray(Image.fromarray(map_).resize((side, side), Image.Resampling.BILINEAR))
    most = heat.max()
    return heat / most if most > 0 else np.zeros_like(heat)


def probability_of(backend: Backend, index: int, temperature: float | None = None) -> Probabilities:
    """The calibrated probability of one class, as a function of a batch of bytes (n, 3, side, side)."""
    return lambda images: softmax(backend.outputs(images).logits, temperature)[:, index]
