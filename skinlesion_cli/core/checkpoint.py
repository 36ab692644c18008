"""The checkpoint: one file that explains itself, loadable with `torch.load(weights_only=True)`."""

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skinlesion_cli import __version__
from skinlesion_cli.core.errors import InputError
from skinlesion_cli.core.files import written_whole
from skinlesion_cli.core.inference import Preprocessing
from skinlesion_cli.core.model import (
    StateDict,
    create_model,
    head_names,
    normalization,
    plain_state_dict,
    read_tensors,
    require_known,
)
from skinlesion_cli.core.settings import FIELDS, RESIZE_RATIO, Settings

FORMAT = "skinlesion-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """A trained classifier and what is known of it."""

    arch: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    state: StateDict
    """The model's plain state dict."""
    class_counts: dict[str, int] = field(default_factory=dict)
    """Training images of each class; empty where unknown."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The run's settings; empty where unknown."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Validation figures of the epoch that is kept."""
    epoch: int = 0
    """The epoch that is kept, from 1; 0 where unknown."""

    def build(self) -> nn.Module:
        """Make the model and load its weights.

        Raises:
            InputError: the weights do not fit the architecture and the number of classes.
        """
        model = create_model(self.arch, len(self.classes), self.preprocessing.img_size)
        try:
            model.load_state_dict(self.state)
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:200]
            raise InputError(
                f"the checkpoint's weights do not fit {self.arch} with {len(self.classes)} classes: {detail}"
            ) from None
        return model


def save_checkpoint(path: Path, checkpoint: Checkpoint, **extra: Any) -> None:
    """Write a checkpoint, whole or not at all; `extra` entries (plain data and tensors) go beside it."""
    preprocessing = dataclasses.asdict(checkpoint.preprocessing) | {"resize_ratio": RESIZE_RATIO}
    content = {
        "format": FORMAT,
        "model": checkpoint.state,
        "arch": checkpoint.arch,
        "classes": list(checkpoint.classes),
        "img_size": checkpoint.preprocessing.img_size,
        "preprocessing": {
            key: list(value) if isinstance(value, tuple) else value for key, value in preprocessing.items()
        },
        "settings": checkpoint.settings,
        "class_counts": checkpoint.class_counts,
        "metrics": checkpoint.metrics,
        "epoch": checkpoint.epoch,
        "versions": versions(),
    } | extra
    with written_whole(path) as part:
        torch.save(content, part)


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
    arch = _agreed(path, "--arch", _text(known.get("arch") or known.get("model_name")), arch)
    named = known.get("classes")
    known_classes = tuple(str(name) for name in named) if isinstance(named, list | tuple) and named else None
    agreed: tuple[str, ...] = _agreed(path, "--classes", known_classes, tuple(classes) if classes else None)
    require_known(arch)
    checkpoint = Checkpoint(
        arch=arch,
        classes=agreed,
        preprocessing=_preprocessing(path, known, arch, img_size),
        state=state,
        class_counts=_plain_dict(known.get("class_counts")),
        settings=_plain_dict(known.get("settings")),
        metrics=_plain_dict(known.get("metrics")),
        epoch=known["epoch"] if isinstance(known.get("epoch"), int) else 0,
    )
    _require_outputs(path, checkpoint)
    return checkpoint


def _agreed(path: Path, option: str, known: Any, given: Any) -> Any:
    if known is None and given is None:
        raise InputError(f"{path} does not say it: give {option} as the model was trained")
    if known is not None and given is not None and known != given:
        raise InputError(f"{path} disagrees with {option}: it has {_short(known)} and not {_short(given)}")
    return given if known is None else known


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"the {len(value)} classes {', '.join(value)}"


def _preprocessing(path: Path, known: Mapping[str, Any], arch: str, img_size: int | None) -> Preprocessing:
    stored = _plain_dict(known.get("preprocessing"))
    mean, std = normalization(arch, "imagenet")
    mean, std = stored.get("mean", mean), stored.get("std", std)
    size = known.get("img_size", img_size or FIELDS["img_size"].default)
    numbers = [size, *(mean if isinstance(mean, list | tuple) else [None])]
    numbers += std if isinstance(std, list | tuple) else [None]
    if len(numbers) != 7 or not all(isinstance(value, int | float) for value in numbers) or min(std) <= 0:
        raise InputError(f"{path} describes a preprocessing that makes no sense")
    if not 1 <= size <= 4096:
        raise InputError(f"{path} says that the model takes images of {size} pixels")
    return Preprocessing(int(size), tuple(mean), tuple(std))


def _require_outputs(path: Path, checkpoint: Checkpoint) -> None:
    """Hold the number of classes against the head, before a model is made of it."""
    for head in head_names(checkpoint.arch):
        bias = checkpoint.state.get(f"{head}.bias")
        if bias is not None and len(bias) != len(checkpoint.classes):
            raise InputError(
                f"{path} has a head for {len(bias)} classes and {len(checkpoint.classes)} are named: "
                f"{', '.join(checkpoint.classes)}"
            )


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
        except ValueError:
            known[key] = text
    return known


def _plain_dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
