"""Exporting a checkpoint as a folder that timm and the hub can read: weights, config.json and README.md."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from skinlesion_cli.common.errors import SkinLesionError, one_line
from skinlesion_cli.common.files import written_folder
from skinlesion_cli.common.settings import FIELDS, value_type
from skinlesion_cli.data.augment import normalize
from skinlesion_cli.data.framing import resize_side
from skinlesion_cli.exporting.verified import Exported, Pixels, checked_difference
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.backbone import config_of
from skinlesion_cli.models.checkpoint import Checkpoint, versions
from skinlesion_cli.models.preprocessing import Preprocessing
from skinlesion_cli.models.timm_folder import CONFIG, DETECTOR, FORMAT, OWN, README, WEIGHTS

_CROP_MODES = {"crop": "center", "pad": "border", "squash": "squash"}
"""timm's crop mode for each of our fits."""


def export_folder(checkpoint: Checkpoint, target: Path, pixels: Pixels, readme: str) -> Exported:
    """Write a checkpoint as a timm folder, and verify the probabilities of timm's own model against ours.

    The folder is verified on the views `pixels` (n, 3, side, side). `readme` is the text of its README.md.

    Raises:
        SkinLesionError: the probabilities differ, or it cannot be written; the folder is then unchanged.
    """
    model = checkpoint.build().eval()
    prepared = checkpoint.preprocessing
    inputs = normalize(torch.from_numpy(pixels), prepared.mean, prepared.std)
    with written_folder(target.resolve()) as part:
        part.mkdir()
        state = {
            name: value.clone(memory_format=torch.contiguous_format)
            for name, value in model.state_dict().items()
        }
        save_file(state, part / WEIGHTS[0], metadata={"format": "pt"})
        text = json.dumps(_config(checkpoint, int(model.num_features)), indent=2, ensure_ascii=False)  # type: ignore[arg-type]
        (part / CONFIG).write_text(text + "\n", encoding="utf-8")
        (part / README).write_text(readme, encoding="utf-8")
        if checkpoint.novelty is not None:
            kept = {one: torch.from_numpy(getattr(checkpoint.novelty, one)).contiguous() for one in _TENSORS}
            save_file(kept, part / DETECTOR)
        try:
            theirs = timm.create_model(f"local-dir:{part}", pretrained=True).eval()
        except Exception as error:
            raise SkinLesionError(
                f"{target} was not written: timm cannot load it: {one_line(error)}"
            ) from error
        with torch.inference_mode():
            # In the same memory layout: another layout means another order of summation.
            both = [one.to(memory_format=torch.channels_last) for one in (model, theirs)]
            expected, answers = (softmax(one(inputs).numpy(), checkpoint.temperature) for one in both)
        difference = checked_difference(answers, expected, target, "in timm its probabilities differ")
    size = sum(path.stat().st_size for path in target.iterdir())
    return Exported(target, size, len(pixels), difference)


_TENSORS = ("mean", "directions", "scale")
"""Fields of the detector that are tensors."""


def _config(checkpoint: Checkpoint, features: int) -> dict[str, Any]:
    arch, classes = checkpoint.arch.partition(".")[0], list(checkpoint.classes)
    return {
        "architecture": arch,
        "num_classes": len(classes),
        "num_features": features,
        "label_names": classes,
        "pretrained_cfg": timm_config(checkpoint.arch, classes, checkpoint.preprocessing),
        OWN: _own(dataclasses.replace(checkpoint, arch=arch)),
    }


def timm_config(arch: str, classes: list[str], prepared: Preprocessing) -> dict[str, Any]:
    """Timm's `pretrained_cfg`: the preprocessing, and the names in its own configuration of the backbone.

    timm's border rounds the length of the shorter side, and ours rounds it down; all else is the same.
    """
    side, known = prepared.img_size, config_of(arch)
    return {
        "input_size": [3, side, side],
        "fixed_input_size": bool(known.fixed_input_size),
        "interpolation": prepared.resize.interpolation,
        "crop_pct": _crop_pct(prepared),
        "crop_mode": _CROP_MODES[prepared.resize.fit],
        "mean": list(prepared.mean),
        "std": list(prepared.std),
        "num_classes": len(classes),
        "label_names": classes,
        "pool_size": None,
        "first_conv": known.first_conv,
        "classifier": known.classifier,
    }


def _crop_pct(prepared: Preprocessing) -> float:
    """The share from which timm, which rounds down, computes the same number of pixels."""
    if prepared.resize.fit != "crop":
        return 1.0
    side, resized = prepared.img_size, resize_side(prepared.img_size, prepared.resize)
    share = side / resized
    while math.floor(side / share) < resized:
        share = math.nextafter(share, 0)
    return share


def _own(checkpoint: Checkpoint) -> dict[str, Any]:
    """What only this tool reads, without paths of this machine: the folder is meant to be published."""
    plain = checkpoint.plain()
    paths = {name for name in FIELDS if value_type(name) is Path}
    settings = {name: value for name, value in plain["settings"].items() if name not in paths}
    novelty = checkpoint.novelty and {"noise": checkpoint.novelty.noise, "levels": checkpoint.novelty.levels}
    return {
        "format": FORMAT,
        **plain,
        "settings": settings,
        "novelty": novelty,
        "versions": versions(),
    }
