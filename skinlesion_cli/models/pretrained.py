"""The weights that a run starts from: pretrained ones from the hub, a file of the user's, or random ones."""

import contextlib
from pathlib import Path

from torch import nn

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.models.backbone import config_of, head_names
from skinlesion_cli.models.hub import ask_hub, unavailable, without_pretrained
from skinlesion_cli.models.state_dicts import (
    StateDict,
    converted_by_timm,
    foreign_state_dict,
    misfit,
    plain_state_dict,
)
from skinlesion_cli.models.weight_files import read_tensors


def load_start_weights(model: nn.Module, settings: Settings) -> str:
    """Load the weights that the settings ask for, if any; returns what was loaded, as text for the user."""
    if settings.init_weights is not None:
        return load_init_weights(model, settings.model_arch, settings.init_weights)
    if settings.pretrained:
        return load_pretrained(model, settings.model_arch)
    return "random weights"


def load_pretrained(model: nn.Module, arch: str) -> str:
    """Load the backbone's pretrained weights, cached or from the hub; the head keeps its random weights."""
    config = config_of(arch)
    if not config.hf_hub_id:
        raise without_pretrained(f"timm has no pretrained weights of {arch} on the hub")
    file = _fetch_from_hub(config.hf_hub_id, config.hf_hub_filename, arch)
    state = converted_by_timm(plain_state_dict(read_tensors(file)), model)
    _load_all_but_head(model, arch, state, f"the pretrained weights of {arch}")
    return f"pretrained weights of {config.hf_hub_id}"


def load_init_weights(model: nn.Module, arch: str, path: Path) -> str:
    """Load weights of the same backbone with any number of classes; the head keeps its random weights.

    A file whose tensors have other names is accepted if it lists the same tensors in the same order: the same
    shapes and the same last part of each name (weight, bias, running_mean, …).
    """
    state, _ = foreign_state_dict(read_tensors(path))
    if not state:
        raise InputError(f"{path} holds no weights")
    renamed = _renamed_by_order(state, model, arch)
    _load_all_but_head(model, arch, renamed or converted_by_timm(state, model), str(path))
    return f"weights of {path}" + (" (different tensor names, matched by their order)" if renamed else "")


def _fetch_from_hub(repo: str, filename: str | None, arch: str) -> Path:
    import huggingface_hub
    from huggingface_hub.utils import LocalEntryNotFoundError

    names = [filename] if filename else ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        with contextlib.suppress(LocalEntryNotFoundError):
            return Path(huggingface_hub.hf_hub_download(repo, name, local_files_only=True))
    try:
        # A cheap request first: the download itself would retry for most of a minute.
        ask_hub(repo, names[0])
        return Path(huggingface_hub.hf_hub_download(repo, names[0]))
    # Offline mode, no route, a proxy's reply and a missing file raise many types from several libraries.
    except Exception as error:
        raise unavailable(arch, error) from None


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
