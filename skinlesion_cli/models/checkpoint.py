"""The checkpoint: one file that explains itself, loadable with `torch.load(weights_only=True)`."""

import dataclasses
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skinlesion_cli.common.errors import InputError, first_few, one_line
from skinlesion_cli.common.files import written_whole
from skinlesion_cli.common.settings import FIELDS, Settings
from skinlesion_cli.common.text import shortened
from skinlesion_cli.common.version import __version__
from skinlesion_cli.models.backbone import (
    StateDict,
    create_model,
    head_names,
    plain_state_dict,
    read_tensors,
    require_known,
    shapes_of,
)
from skinlesion_cli.models.model_info import Description, describe
from skinlesion_cli.models.ood import Novelty

FORMAT = "skinlesion-checkpoint-1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Description):
    """A trained classifier and what is known of it."""

    state: StateDict
    """The model's plain state dict."""
    novelty: Novelty | None = None
    """Tells how far a picture lies from the training images; None where it was never fitted."""

    @property
    def description(self) -> Description:
        """What is known of it, without the weights."""
        names = [field.name for field in dataclasses.fields(Description)]
        return Description(**{name: getattr(self, name) for name in names})

    def build(self) -> nn.Module:
        """Make the model and load its weights.

        Raises:
            InputError: the weights do not fit the architecture and the number of classes.
        """
        arch, side = self.arch, self.preprocessing.img_size
        shapes = shapes_of(arch, len(self.classes), side)
        # Held against each other first: a small file may name a backbone that takes all memory.
        if shapes is not None and shapes != {name: value.shape for name, value in self.state.items()}:
            raise InputError(self._misfit(_difference(shapes, self.state)))
        model = create_model(arch, len(self.classes), side)
        try:
            model.load_state_dict(self.state)
        except RuntimeError as error:
            raise InputError(self._misfit(one_line(error))) from None
        return model

    def _misfit(self, detail: str) -> str:
        return (
            f"the checkpoint's weights do not fit {self.arch} with {len(self.classes)} classes "
            f"and images of {self.preprocessing.img_size} pixels: {detail}"
        )


def _difference(shapes: Mapping[str, torch.Size], state: StateDict) -> str:
    for name, shape in shapes.items():
        if name not in state:
            return f"{name} is missing"
        if state[name].shape != shape:
            return f"{name} is {tuple(state[name].shape)} and not {tuple(shape)}"
    return f"{shortened(next(name for name in state if name not in shapes))} is not part of it"


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, earlier: Path | None = None, **extra: Any) -> None:
    """Write a checkpoint, whole or not at all; `extra` entries (plain data and tensors) go beside it.

    Raises:
        SkinLesionError: it cannot be written; what lay at `path` still does. As `written_whole`, also for
            `earlier`.
    """
    content = {
        "format": FORMAT,
        "model": checkpoint.state,
        **checkpoint.plain(),
        "novelty": None if checkpoint.novelty is None else _plain_novelty(checkpoint.novelty),
        "versions": versions(),
    } | extra
    # Through a file of Python's, whose errors tell why it cannot be written; torch's own does not.
    with written_whole(path, earlier=earlier) as part, part.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            raise _cause(error) from None


def _cause(error: BaseException) -> BaseException:
    """What torch's writer stumbled over: a disk that is full, Ctrl-C; the error itself where that is all."""
    while isinstance(error, RuntimeError) and error.__context__ is not None:
        error = error.__context__
    return error


def versions() -> dict[str, str]:
    """Versions of what a score depends on."""
    import timm

    return {
        "skinlesion": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "timm": str(timm.__version__),
    }


def plain_settings(settings: Settings) -> dict[str, Any]:
    """The settings as plain data."""
    values = {name: getattr(settings, name) for name in FIELDS}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def plain_state(model: nn.Module) -> StateDict:
    """The model's state dict under its own names, copied, whatever wraps the model."""
    state = plain_state_dict(model.state_dict())
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}


def load_checkpoint(
    path: Path,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    img_size: int | None = None,
) -> Checkpoint:
    """Load a checkpoint of any accepted kind.

    Accepted: this package's own; a `{"model", "classes", "model_name"}` dict; a bare state dict or a
    .safetensors file, with `arch` and `classes` (a .safetensors file may name them in its metadata).

    Args:
        path: the file.
        arch: the backbone, where the file does not say; it must agree where it does.
        classes: the classes in the order of the outputs, likewise.
        img_size: side of the input in pixels, where the file does not say; 256 without either.

    Raises:
        InputError: no such file, refused, damaged, or something is not known or does not agree.
    """
    content = read_tensors(path)
    known: Mapping[str, Any] = content if isinstance(content, dict) else {}
    if path.suffix == ".safetensors":
        known = _safetensors_metadata(path)
    state = plain_state_dict(content)
    if not state:
        raise InputError(f"{path} holds no model")
    description = describe(path, known, arch=arch, classes=classes, img_size=img_size)
    require_known(description.arch)
    novelty = _novelty(path, known)
    limit = None if novelty is None else novelty.limit
    checkpoint = Checkpoint(**vars(description) | {"distance_limit": limit}, state=state, novelty=novelty)
    _require_outputs(path, checkpoint)
    return checkpoint


def _require_outputs(path: Path, checkpoint: Checkpoint) -> None:
    """Hold the number of classes against the head, before a model is made of it."""
    for head in head_names(checkpoint.arch):
        bias = checkpoint.state.get(f"{head}.bias")
        if bias is not None and bias.shape != (len(checkpoint.classes),):
            raise InputError(
                f"{path} has a head for {bias.numel()} classes and {len(checkpoint.classes)} are named: "
                f"{first_few(checkpoint.classes, 20)}"
            )


def _plain_novelty(novelty: Novelty) -> dict[str, Any]:
    """As tensors and numbers: what `torch.load(weights_only=True)` reads."""
    values = dataclasses.asdict(novelty)
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def _novelty(path: Path, known: Mapping[str, Any]) -> Novelty | None:
    stored = known.get("novelty")
    if stored is None:
        return None
    try:
        mean, directions = stored["mean"].float().numpy(), stored["directions"].float().numpy()
        noise, limit = float(stored["noise"]), float(stored["limit"])
        sane = mean.ndim == 1 and directions.ndim == 2 and len(directions) == len(mean)
        sane = sane and bool(np.isfinite(mean).all() and np.isfinite(directions).all())
        if not (sane and 0 < noise < math.inf and 0 < limit < math.inf):
            raise ValueError
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RuntimeError):
        raise InputError(
            f"{path} describes the distance from its training images in a way that makes no sense"
        ) from None
    return Novelty(mean, directions, noise, limit)


def _safetensors_metadata(path: Path) -> dict[str, Any]:
    """What a .safetensors file says of itself: text for each key, JSON for lists and numbers."""
    import json

    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
    known: dict[str, Any] = {}
    for key, text in metadata.items():
        try:
            known[key] = json.loads(text)
        # No JSON, a number of thousands of digits, or lists in lists without end.
        except (ValueError, RecursionError):
            known[key] = text
    return known
