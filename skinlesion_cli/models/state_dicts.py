"""State dicts of other programs: which of a file's weights are taken, and under which names."""

import importlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.text import shortened

StateDict = dict[str, torch.Tensor]

_KEYS = ("model", "state_dict", "model_state_dict")
_EMA_KEYS = ("state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema")
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
_EMA_NAMES = re.compile(r"^(model_ema|ema_model|ema)\.")
# Counters of weight averaging (SWA) and of profilers, and losses with weights of their own.
_NO_WEIGHTS = re.compile(r"(^|\.)(n_averaged|total_ops|total_params)$|^(criterion|loss|loss_fn|loss_func)\.")


def plain_state_dict(data: Any) -> StateDict:
    """The tensors in a file's content, by name, without the prefixes that torch's wrappers add to names."""
    if not isinstance(data, dict):
        return {}
    found = next((data[key] for key in _KEYS if isinstance(data.get(key), dict)), data)
    tensors = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
    return {_WRAPPERS.sub("", name): value for name, value in tensors.items()}


def foreign_state_dict(data: Any, ema: bool | None = None) -> tuple[StateDict, str]:
    """The weights in the content of a file, possibly of another program, and a note for the user.

    Entries that are not weights of the network are dropped, and so are prefixes that all names share, such as
    `model.` or `backbone.`. If a file contains both averaged (EMA) and last weights, `ema` chooses.

    Raises:
        InputError: the weights that `ema` asks for are missing.
    """
    last, averaged, name = plain_state_dict(data), {}, ""
    for key in _EMA_KEYS:
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            averaged, name = plain_state_dict({"model": data[key]}), key
            break
    else:
        averaged = {key: value for key, value in last.items() if _EMA_NAMES.match(key)}
        if averaged and len(averaged) < len(last):
            last = {key: value for key, value in last.items() if key not in averaged}
            name = next(iter(averaged)).split(".")[0]
        else:
            averaged = {}
    last, averaged = _without_prefix(last), _without_prefix(averaged)
    if ema and not averaged:
        raise InputError("--ema: the file contains no averaged weights (EMA); leave it out")
    if ema is False and not last:
        raise InputError("--no-ema: the file contains only averaged weights (EMA); leave it out")
    if not averaged or not last:
        return averaged or last, ""
    if ema:
        return averaged, f"it contains two sets of weights; {name} is taken"
    return last, f"it contains two sets of weights; the averaged ones ({name}) are taken only with --ema"


def _without_prefix(state: StateDict) -> StateDict:
    kept = {name: value for name, value in state.items() if not _NO_WEIGHTS.search(name)}
    # No timm network has all its tensors below a single module.
    while len(kept) > 1 and len({name.partition(".")[0] for name in kept}) == 1:
        kept = {name.partition(".")[2]: value for name, value in kept.items()}
    return kept


def below_prefix(state: StateDict, names: Sequence[str]) -> tuple[StateDict, str]:
    """The weights of a network inside another one, without its prefix, and a note for the user.

    The network is at the prefix below which most of `names`, the names of its tensors, are found. Lightning,
    for example, saves metrics or a teacher beside `model.`, and fastai's `vision_learner` has the timm
    network at `0.model.`.

    Raises:
        InputError: there are several such networks.
    """
    if not names or any(name in state for name in names):
        return state, ""
    end = f".{names[0]}"
    prefixes = [name.removesuffix(end) + "." for name in state if name.endswith(end)]
    found = [one for one in prefixes if 2 * sum(one + name in state for name in names) > len(names)]
    if len(found) > 1:
        raise InputError(
            f"the file contains {len(found)} networks, {first_few(found)}: save the weights of only one"
        )
    if not found:
        return state, ""
    prefix = found[0]
    inside = {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}
    left = len(state) - len(inside)
    return inside, f"the {len(inside)} tensors of {prefix} are taken, {left} others are not" if left else ""


def contents_text(data: Any) -> str:
    """What a file without weights contains, for the end of a message."""
    names = [shortened(str(name)) for name in data] if isinstance(data, dict) else []
    return f"; it has {first_few(names, 8)}" if names else ""


def misfit(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str:
    """Why tensors do not fit a model; an empty string if all names and shapes agree."""
    faults = {
        "missing": [name for name in own if name not in given],
        "unknown": [name for name in given if name not in own],
        "of another shape": [name for name in own if name in given and given[name].shape != own[name].shape],
    }
    for what, names in faults.items():
        if names:
            fit = sum(name in given and given[name].shape == one.shape for name, one in own.items())
            among = f"{len(names)} tensors are {what}, {shortened(names[0])} among them"
            return f"{among}; {fit} of {len(own)} fit"
    return ""


def converted_by_timm(state: StateDict, model: nn.Module) -> StateDict:
    """Convert weights of an older layout to the current one, by timm's own rules for the architecture."""
    module = importlib.import_module(type(model).__module__)
    convert = getattr(module, "checkpoint_filter_fn", None)
    return plain_state_dict(convert(dict(state), model)) if convert else state


def renamed_by_timm(state: StateDict, model: nn.Module) -> StateDict:
    """Like `converted_by_timm`, but unchanged if timm would resize tensors, as for another image size."""
    try:
        found = converted_by_timm(state, model)
    # Each architecture has its own rules, which fail in their own ways on what they do not expect.
    except Exception:
        return state
    sizes = [Counter(value.numel() for value in one.values()) for one in (found, state)]
    return found if sizes[0] <= sizes[1] else state


def two_outputs(state: StateDict, head: str) -> StateDict:
    """A state dict whose head has two outputs instead of one, with the same probabilities.

    The softmax of (−z/2, z/2) is (1 − sigmoid(z), sigmoid(z)).
    """
    names = {f"{head}.weight", f"{head}.bias"} & state.keys()
    return state | {name: torch.cat([-state[name] / 2, state[name] / 2]) for name in names}
