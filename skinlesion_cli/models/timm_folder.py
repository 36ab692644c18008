"""A timm folder, the form of a model on the Hugging Face hub: config.json beside the weights.

timm is imported only if its defaults are needed: names are looked up before that slow import.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.files import is_folder, read_text
from skinlesion_cli.common.limits import MAX_PLAIN_BYTES
from skinlesion_cli.common.paper import PAPER
from skinlesion_cli.models.hub import fetch_folder
from skinlesion_cli.models.preprocessing import INTERPOLATIONS, resize_ratio

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""Names of the weights file, in timm's order."""
DETECTOR = "skinlesion_detector.safetensors"
"""The tensors of the out-of-distribution detector, in a folder of this tool."""
README = "README.md"
OWN = "skinlesion"
"""Key of config.json, which timm ignores: the description that this tool reads."""
FORMAT = "skinlesion-folder-1"
_LOCAL, _HUB = "local-dir", ("hf-hub", "hf_hub")
_FITS = {"center": "crop", "border": "pad", "squash": "squash"}
"""Our `fit` for each of timm's crop modes."""
_IN_TRAINING = ("drop_rate", "drop_path_rate", "drop_block_rate", "proj_drop_rate", "attn_drop_rate")
_KNOWN_ARGUMENTS = {"num_classes", "in_chans", "img_size", "global_pool", *_IN_TRAINING}
"""Arguments of timm's model that either change nothing after training, or are checked."""


def located(path: Path) -> Path:
    """The folder that `local-dir:PATH` or `hf-hub:ORG/NAME@REVISION` names; any other path as it is.

    A model on the hub is taken from the hub's cache; if it is not there, it is downloaded.

    Raises:
        SkinLesionError: the hub does not respond, or has no such model.
    """
    source, colon, name = path.as_posix().partition(":")
    if not colon or source not in (_LOCAL, *_HUB):
        return path
    if not name:
        raise InputError(
            f"{path} names no model: write {source}:{'PATH' if source == _LOCAL else 'ORG/NAME'}"
        )
    if source == _LOCAL:
        return Path(name)
    folder = fetch_folder(name, [CONFIG], WEIGHTS)
    own = config_beside(folder / WEIGHTS[0]).get(OWN)
    if isinstance(own, dict) and own.get("novelty"):
        fetch_folder(f"{name.partition('@')[0]}@{folder.name}", [DETECTOR])
    return folder


def weights_in(folder: Path) -> Path | None:
    """The weights file in a folder with a config.json; None for any other folder."""
    if not (folder / CONFIG).is_file():
        return None
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), folder / WEIGHTS[0])


def names_folder(arch: str) -> bool:
    """Whether `--arch` names a folder or a model on the hub instead of a backbone."""
    return any(mark in arch for mark in "/\\:")


def backbone_named(arch: str) -> str:
    """The backbone of a folder or of a model on the hub; any other name as it is.

    Raises:
        InputError: there is no such folder, or it is not timm's.
    """
    if not names_folder(arch):
        return arch
    folder = located(Path(arch))
    return str(read_config(folder)["architecture"])


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a folder's config.json, which names an `architecture`.

    Raises:
        InputError: there is none, or it is not timm's.
    """
    if not is_folder(folder):
        raise InputError(f"there is no folder {folder}")
    path = folder / CONFIG
    try:
        found = json.loads(read_text(path, most=MAX_PLAIN_BYTES))
    except (ValueError, RecursionError):
        raise InputError(f"cannot read {path}: it is not JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("architecture"), str):
        has = f"; it has {first_few(sorted(map(str, found)), 5)}" if isinstance(found, dict) and found else ""
        raise InputError(f"{path} does not describe a timm model: it names no architecture{has}")
    return found


def config_beside(weights: Path) -> dict[str, Any]:
    """The config.json beside a weights file; empty if there is none, or if it is not timm's."""
    if weights.name not in WEIGHTS or not (weights.parent / CONFIG).is_file():
        return {}
    # A config.json of another library says nothing that is needed here.
    with suppress(InputError):
        return read_config(weights.parent)
    return {}


def own_entries(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The description that this tool wrote to a config.json; empty in a folder of another program.

    Raises:
        InputError: its backbone or classes are not those that timm reads: one of them was edited.
    """
    found = config.get(OWN)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return {}
    timms = _timm_part(config)
    for key, theirs in (("arch", config["architecture"]), ("classes", timms.get("label_names"))):
        if found.get(key) != theirs:
            raise InputError(
                f"{path.parent / CONFIG} contradicts itself: {key} of {OWN!r} is not what timm reads; "
                "export the folder again"
            )
    return found


def timm_entries(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What timm's part of a config.json says of a model, with the keys of a checkpoint.

    `classes` is missing if the folder has no `label_names`.

    Raises:
        InputError: this tool does not support the model.
    """
    timms = _timm_part(config)
    side = _checked_input(timms, config, path)
    return {
        "arch": config["architecture"],
        **({"classes": names} if (names := _label_names(timms, path)) else {}),
        "img_size": side,
        "preprocessing": _preprocessing(timms, side, path),
    }


def _timm_part(config: Mapping[str, Any]) -> dict[str, Any]:
    # Older folders have everything at the top; in newer ones, what is at the top wins.
    inner = config.get("pretrained_cfg", config)
    timms = dict(inner) if isinstance(inner, dict) else {}
    timms |= {key: config[key] for key in ("num_classes", "label_names") if config.get(key) is not None}
    if "label_names" not in timms and isinstance(timms.get("labels"), list):
        timms["label_names"] = timms["labels"]
    return timms


def _checked_input(timms: Mapping[str, Any], config: Mapping[str, Any], path: Path) -> int:
    """The side of the model's input; InputError if `create_model` would not create the model as timm does."""
    size = timms.get("input_size", (3, 224, 224))
    if not isinstance(size, list | tuple) or len(size) != 3 or size[0] != 3 or size[1] != size[2]:
        raise InputError(f"{path}: its input_size is {size}; only square RGB images are supported")
    given = config.get("model_args") or {}
    unknown = sorted(set(given) - _KNOWN_ARGUMENTS) if isinstance(given, dict) else ["no dict"]
    if unknown:
        raise InputError(f"{path}: its model_args ({first_few(unknown)}) are not supported")
    if given.get("in_chans", 3) != 3 or timms.get("label_offset"):
        raise InputError(f"{path}: its in_chans or label_offset is not supported")
    # The size for a backbone with a fixed grid of positions, as [height, width] or one number.
    fixed = given.get("img_size", size[1])
    if fixed not in (size[1], [size[1], size[1]]):
        raise InputError(f"{path}: its model_args are for images of {fixed}, its input_size is {size}")
    return size[1]  # type: ignore[no-any-return]


def _label_names(timms: Mapping[str, Any], path: Path) -> list[str] | None:
    names = timms.get("label_names")
    if isinstance(names, dict):
        # By index, which JSON makes a text.
        names = [names.get(str(index)) for index in range(len(names))]
    if not isinstance(names, list) or not names:
        return None
    number = timms.get("num_classes", len(names))
    if not all(isinstance(name, str) for name in names) or len(names) != number:
        raise InputError(f"{path}: its label_names are not {number} names, one for each output")
    return names


def _preprocessing(timms: Mapping[str, Any], side: int, path: Path) -> dict[str, Any]:
    import timm.data

    # timm's own defaults, for what is missing.
    found = timm.data.resolve_data_config(pretrained_cfg=dict(timms) or {"input_size": (3, side, side)})
    mode, share, interpolation = (found[key] for key in ("crop_mode", "crop_pct", "interpolation"))
    if mode not in _FITS or interpolation not in INTERPOLATIONS:
        raise InputError(f"{path}: crop_mode {mode} with interpolation {interpolation} is not supported")
    # The other two fits show the whole photograph.
    if not isinstance(share, int | float) or not 0.1 <= share <= 2 or (mode != "center" and share != 1):
        raise InputError(f"{path}: crop_mode {mode} with crop_pct {share} is not supported")
    return {
        "mean": list(found["mean"]),
        "std": list(found["std"]),
        "resize_ratio": resize_ratio(side, share) if mode == "center" else PAPER.ratio,
        "interpolation": interpolation,
        "fit": _FITS[mode],
    }
