"""The checkpoint: one self-describing file, loadable with `torch.load(weights_only=True)`."""

import dataclasses
import math
import platform
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import timm.data
import torch
from safetensors import safe_open
from torch import nn

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.files import written_whole
from skinlesion_cli.common.settings import FIELDS, Settings
from skinlesion_cli.common.version import __version__
from skinlesion_cli.models.backbone import (
    config_of,
    create_model,
    head_names,
    pools_as,
    require_known,
    trained_with,
)
from skinlesion_cli.models.model_info import Description, describe, from_json
from skinlesion_cli.models.ood import OodDetector
from skinlesion_cli.models.state_dicts import (
    StateDict,
    below_prefix,
    contents_text,
    foreign_state_dict,
    misfit,
    plain_state_dict,
    renamed_by_timm,
    two_outputs,
)
from skinlesion_cli.models.timm_folder import (
    CONFIG,
    DETECTOR,
    config_beside,
    own_entries,
    timm_entries,
)
from skinlesion_cli.models.weight_files import read_tensors

FORMAT = "skinlesion-checkpoint-1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Description):
    """A trained classifier: its weights, and the description of them."""

    state: StateDict
    novelty: OodDetector | None = None
    """Computes an image's distance from the training images; None if it was never fitted."""

    @property
    def description(self) -> Description:
        """The same without the weights."""
        return Description(**{one.name: getattr(self, one.name) for one in dataclasses.fields(Description)})

    def build(self) -> nn.Module:
        """Create the model with the checkpoint's weights; the two share memory where their types agree."""
        arch, classes, side = self.arch, len(self.classes), self.preprocessing.img_size
        try:
            # Without allocating its tensors: a small file may name a backbone that would take all memory.
            with torch.device("meta"):
                model = create_model(arch, classes, side, verify=False)
        # Some backbones use the values of their weights in the constructor.
        except InputError:
            model = create_model(arch, classes, side, verify=False)
        own, state = model.state_dict(), self.state
        if misfit(own, state):
            state = renamed_by_timm(state, model)
        if fault := misfit(own, state):
            wanted = f"{arch} with {classes} classes and images of {side} pixels"
            raise InputError(f"the checkpoint's weights do not fit {wanted}: {fault}")
        if any(buffer.is_meta for name, buffer in model.named_buffers() if name not in own):
            # No checkpoint contains these buffers: only the constructor computes them.
            model = create_model(arch, classes, side, verify=False)
        model.load_state_dict({name: value.to(own[name].dtype) for name, value in state.items()}, assign=True)
        return model


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, earlier: Path | None = None, **extra: Any) -> None:
    """Write a checkpoint with `extra` plain data and tensors; `earlier` as in `written_whole`."""
    # As tensors and numbers, which `torch.load(weights_only=True)` reads.
    novelty = checkpoint.novelty and {
        "mean": torch.from_numpy(checkpoint.novelty.mean),
        "directions": torch.from_numpy(checkpoint.novelty.directions),
        "noise": checkpoint.novelty.noise,
        "scale": torch.from_numpy(checkpoint.novelty.scale),
        "levels": checkpoint.novelty.levels,
    }
    content = {
        "format": FORMAT,
        "model": checkpoint.state,
        **checkpoint.plain(),
        "novelty": novelty,
        "versions": versions(),
    } | extra
    # Through a Python file object, whose errors say why it cannot be written; torch's own do not.
    with written_whole(path, earlier=earlier) as part, part.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # What is behind it: a full disk, Ctrl-C.
            cause: BaseException = error
            while isinstance(cause, RuntimeError) and cause.__context__ is not None:
                cause = cause.__context__
            raise cause from None


def versions() -> dict[str, str]:
    """Versions of the software that a score depends on."""
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
    """A copy of the model's state dict on the CPU, without the prefixes of wrappers."""
    state = plain_state_dict(model.state_dict())
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}


def load_checkpoint(path: Path, *, ema: bool | None = None, **given: Any) -> Checkpoint:
    """Load a checkpoint in any supported format; `given` are `arch`, `classes` and others of `describe`.

    Supported: this package's own; a `{"model", "classes", "model_name"}` dict; and, with `arch` and
        `classes`, a bare state dict or a .safetensors file (whose metadata may contain both). What the file
        does not say is taken from timm's config.json beside it. A file of timm's training script names its
        backbone and its preprocessing, and a network inside another one is found (see `below_prefix`). If a
        file contains both averaged (EMA) and last weights, `ema` chooses. A head with one output, for a
        sigmoid, gets two.

    Raises:
        InputError: the file is missing, refused or damaged, or an entry is missing, invalid or disagrees.
    """
    content = read_tensors(path)
    known: Mapping[str, Any] = content if isinstance(content, dict) else {}
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            known = from_json(file.metadata() or {})
    if config := config_beside(path):
        known = _known_of_folder(config, path, named=bool(given.get("classes")))
    elif given.get("arch") and "format" not in known and not timm.is_model(str(known.get("arch"))):
        # timm's saver writes the class name of the network if it does not know the name of the backbone.
        known = {key: value for key, value in known.items() if key != "arch"}
    if isinstance(options := known.get("args"), Namespace) and timm.is_model(str(known.get("arch"))):
        known = {**known, **_entries_of_script(str(known["arch"]), vars(options), path)}
    state, note = foreign_state_dict(content, ema)
    if not state:
        raise InputError(f"{path} contains no model{contents_text(content)}")
    description = describe(path, known, backbone=trained_with, **given)
    require_known(description.arch)
    heads = head_names(description.arch)
    state, below = below_prefix(state, [f"{head}.weight" for head in heads])
    notes = [*description.notes, *(f"{path.name}: {one}" for one in (note, below) if one)]
    classes = description.classes
    for head in heads:
        found = [state[name].shape[:1] for name in (f"{head}.weight", f"{head}.bias") if name in state]
        if found and len(classes) == 2 and all(rows == (1,) for rows in found):
            state = two_outputs(state, head)
            notes.append(f"{path.name}: the sigmoid of its one output is the probability of {classes[1]}")
        elif wrong := [rows.numel() for rows in found if rows != (len(classes),)]:
            named = f"{len(classes)} are named: {first_few(classes, 20)}"
            raise InputError(f"{path} has a head for {wrong[0]} classes, but {named}")
    description = dataclasses.replace(description, notes=tuple(dict.fromkeys(notes)))
    return Checkpoint(**vars(description), state=state, novelty=_detector(path, known))


def _known_of_folder(config: Mapping[str, Any], path: Path, *, named: bool) -> Mapping[str, Any]:
    """What a config.json beside the weights says; where it has no classes, they must be `named`."""
    if own := own_entries(config, path):
        stored = own.get("novelty")
        tensors = read_tensors(path.with_name(DETECTOR)) if isinstance(stored, dict) else {}
        return own | {"novelty": stored and {**stored, **tensors}}
    known = timm_entries(config, path)
    require_known(str(known["arch"]))
    pooling = (config.get("model_args") or {}).get("global_pool")
    if pooling is not None and not pools_as(known["arch"], pooling):
        raise InputError(f"{path}: its global_pool {pooling} is not that of {known['arch']}; not supported")
    if "classes" not in known and not named:
        raise InputError(
            f"{path.with_name(CONFIG)} has no label_names: give the classes, in the order of the "
            f"{config.get('num_classes', '')} outputs, with --classes"
        )
    return known


def _entries_of_script(arch: str, options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What the options of timm's training script say, by timm's own rules."""
    try:
        found = timm.data.resolve_data_config(dict(options), pretrained_cfg=config_of(arch).to_dict())
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError):
        raise InputError(f"{path} has invalid options of timm's training script in args") from None
    return timm_entries({"architecture": arch, "pretrained_cfg": found}, path)


def _detector(path: Path, known: Mapping[str, Any]) -> OodDetector | None:
    stored = known.get("novelty")
    if stored is None:
        return None
    try:
        mean, directions = stored["mean"].float().numpy(), stored["directions"].float().numpy()
        noise = float(stored["noise"])
        # Files of earlier versions have neither: their detector uses the features before the head.
        scale = stored["scale"].float().numpy() if "scale" in stored else np.ones(1, np.float32)
        levels = int(stored.get("levels", 0))
        valid = mean.ndim == 1 and directions.ndim == 2 and len(directions) == len(mean)
        valid = valid and scale.shape in ((1,), mean.shape) and (scale > 0).all() and 0 <= levels <= 3
        finite = all(np.isfinite(one).all() for one in (mean, directions, scale))
        if not (valid and finite and 0 < noise < math.inf):
            raise ValueError
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RuntimeError):
        raise InputError(f"{path} contains an invalid out-of-distribution detector") from None
    return OodDetector(mean, directions, noise, scale, levels)
