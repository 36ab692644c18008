"""The weights that a run starts from: pretrained ones from the hub, those of a file, or random ones."""

from pathlib import Path

from torch import nn

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.models.backbone import config_of, head_names
from skinlesion_cli.models.hub import fetch, unavailable, without_pretrained
from skinlesion_cli.models.state_dicts import (
    StateDict,
    below_prefix,
    contents_text,
    converted_by_timm,
    foreign_state_dict,
    misfit,
    plain_state_dict,
)
from skinlesion_cli.models.timm_folder import WEIGHTS, config_beside, timm_entries
from skinlesion_cli.models.weight_files import read_tensors


def load_start_weights(model: nn.Module, settings: Settings) -> str:
    """Load the weights that the settings ask for, if any; returns what was loaded, as text for the user."""
    if settings.init_weights is not None:
        return _load_as_set(model, settings, settings.init_weights)
    if settings.pretrained:
        return load_pretrained(model, settings.model_arch)
    return "random weights"


def load_pretrained(model: nn.Module, arch: str) -> str:
    """Load the backbone's pretrained weights, cached or from the hub; the head keeps its random weights."""
    config = config_of(arch)
    if not config.hf_hub_id:
        raise without_pretrained(f"timm has no pretrained weights for {arch} on the hub")
    names = [config.hf_hub_filename] if config.hf_hub_filename else WEIGHTS[:2]
    try:
        file = fetch(config.hf_hub_id, names)
    # Offline mode, no route, a proxy's reply and a missing file raise many types from several libraries.
    except Exception as error:
        raise unavailable(arch, error) from None
    state = converted_by_timm(plain_state_dict(read_tensors(file)), model)
    _load_all_but_head(model, arch, state, f"the pretrained weights of {arch}")
    return f"pretrained weights of {config.hf_hub_id}"


def load_init_weights(model: nn.Module, arch: str, path: Path, *, ema: bool = False) -> str:
    """Load weights of the same backbone with any number of classes; the head keeps its random weights.

    A file whose tensors have other names is accepted if it lists the same tensors in the same order: the same
    shapes and the same last part of each name (weight, bias, running_mean, …). Of two sets of weights, `ema`
    takes the averaged one.
    """
    content = read_tensors(path)
    state, note = foreign_state_dict(content, ema or None)
    if not state:
        raise InputError(f"{path} contains no weights{contents_text(content)}")
    renamed = _renamed_by_order(state, model, arch)
    if renamed:
        note = "different tensor names, matched by their order"
    else:
        state, below = below_prefix(state, [name for name in model.state_dict() if not _is_head(name, arch)])
        note = "; ".join(filter(None, (note, below)))
    other = config_beside(path).get("architecture", arch)
    hint = "" if other.partition(".")[0] == arch.partition(".")[0] else f", and is for {other}: use --arch"
    _load_all_but_head(model, arch, renamed or converted_by_timm(state, model), f"{path}{hint}")
    return f"weights of {path}" + (f" ({note})" if note else "")


def _load_as_set(model: nn.Module, settings: Settings, path: Path) -> str:
    config = config_beside(path)
    if config and settings.normalization == "backbone":
        theirs, own = timm_entries(config, path)["preprocessing"], config_of(settings.model_arch)
        if any(tuple(theirs[key]) != tuple(getattr(own, key)) for key in ("mean", "std")):
            raise InputError(
                f"--normalization backbone: {path.parent} has another mean and std than timm's "
                f"{settings.model_arch}; use --normalization imagenet"
            )
    return load_init_weights(model, settings.model_arch, path, ema=settings.init_ema)


def _is_head(name: str, arch: str) -> bool:
    return name.startswith(tuple(f"{head}." for head in head_names(arch)))


def _load_all_but_head(model: nn.Module, arch: str, state: StateDict, source: str) -> None:
    wanted = {name: value for name, value in model.state_dict().items() if not _is_head(name, arch)}
    given = {name: value for name, value in state.items() if not _is_head(name, arch)}
    if fault := misfit(wanted, given):
        raise InputError(f"{source} does not fit this backbone: {fault}")
    model.load_state_dict(given, strict=False)


def _renamed_by_order(state: StateDict, model: nn.Module, arch: str) -> StateDict | None:
    own = model.state_dict()
    if state.keys() & own.keys() or len(state) != len(own):
        return None
    for (name, value), (own_name, own_value) in zip(state.items(), own.items(), strict=True):
        same_role = name.rsplit(".", 1)[-1] == own_name.rsplit(".", 1)[-1]
        if not same_role or (value.shape != own_value.shape and not _is_head(own_name, arch)):
            return None
    return dict(zip(own, state.values(), strict=True))
