"""Backbones: making them, and starting them from ImageNet or other weights."""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from skinlesion_cli.common.errors import InputError, SkinLesionError, one_line
from skinlesion_cli.common.files import refuse_faulty
from skinlesion_cli.common.limits import MAX_DEPTH, MAX_MODEL_BYTES, size_text
from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.text import nearest, quoted
from skinlesion_cli.models.archive import require_intact
from skinlesion_cli.models.weight_files import DAMAGED, NOT_PLAIN, fault_of_weights

StateDict = dict[str, torch.Tensor]

HUB_TIMEOUT_SECONDS = 10.0
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
_INSTEAD = (
    "use --init-weights FILE (.pth or .safetensors of the same backbone), or --no-pretrained to start from "
    "random weights"
)


def create_model(arch: str, classes: int, img_size: int) -> nn.Module:
    """Make a backbone with random weights and a head for `classes` classes.

    Raises:
        InputError: timm knows no such backbone (near names are given), or it cannot take `img_size`.
    """
    require_known(arch)
    try:
        model: nn.Module = timm.create_model(
            arch, pretrained=False, num_classes=classes, **_size_of(arch, img_size)
        )
        with torch.inference_mode():
            shape = model.eval()(torch.zeros(1, 3, img_size, img_size)).shape
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise InputError(
            f"the backbone {arch} cannot take {img_size}×{img_size} images: {one_line(error)}"
        ) from None
    if shape != (1, classes):
        raise InputError(f"the backbone {arch} is no image classifier: its output has shape {tuple(shape)}")
    return model.train()


def require_known(arch: str) -> None:
    """Hold a backbone's name against timm's.

    Raises:
        InputError: timm knows no such backbone; near names are given.
    """
    if not timm.is_model(arch):
        raise InputError(f"unknown backbone {quoted(arch)}{nearest(arch, timm.list_models())}")


def normalization(arch: str, kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the input's three channels.

    Args:
        arch: the backbone.
        kind: "imagenet", or "backbone" for what timm says its weights were trained with.
    """
    if kind == "imagenet":
        return IMAGENET_MEAN, IMAGENET_STD
    require_known(arch)
    config = timm.get_pretrained_cfg(arch)
    return tuple(config.mean), tuple(config.std)


def load_start_weights(model: nn.Module, settings: Settings) -> str:
    """Load the weights that a run's settings name, or leave the model's random ones where they ask for none.

    Returns:
        What was loaded, for people.
    """
    if settings.init_weights is not None:
        return load_init_weights(model, settings.model_arch, settings.init_weights)
    if settings.pretrained:
        return load_pretrained(model, settings.model_arch)
    return "random weights"


def load_pretrained(model: nn.Module, arch: str) -> str:
    """Load the backbone's ImageNet weights from the hub's cache, or from the hub; the head stays as it is.

    Returns:
        What was loaded, for people.

    Raises:
        SkinLesionError: timm has no weights for it, or they are not in the cache and the hub does not answer.
    """
    config = timm.get_pretrained_cfg(arch)
    if not config.hf_hub_id:
        raise SkinLesionError(f"timm has no pretrained weights of {arch} on the hub; {_INSTEAD}")
    file = _fetch_from_hub(config.hf_hub_id, config.hf_hub_filename, arch)
    state = _converted_by_timm(read_tensors(file), model)
    _load_all_but_head(model, arch, state, f"the pretrained weights of {arch}")
    return f"pretrained weights of {config.hf_hub_id}"


def load_init_weights(model: nn.Module, arch: str, path: Path) -> str:
    """Load a file of weights of the same backbone, whatever its number of classes; the head stays as it is.

    A file whose tensors carry other names is taken when it lists the same tensors in the same order: the
    same shapes and the same roles (weight, bias, running_mean, …) throughout.

    Returns:
        What was loaded, for people.

    Raises:
        InputError: no such file, no weights, or the weights of another backbone.
    """
    state = plain_state_dict(read_tensors(path))
    if not state:
        raise InputError(f"{path} holds no weights")
    renamed = _renamed_by_order(state, model, arch)
    _load_all_but_head(model, arch, renamed or _converted_by_timm(state, model), str(path))
    return f"weights of {path}" + (" (other names, same tensors: matched by their order)" if renamed else "")


def read_tensors(path: Path) -> Any:
    """Read a .pth or .safetensors file without ever unpickling an object.

    Returns:
        What the file holds: for .safetensors a dict of tensors.

    Raises:
        InputError: no such file, damaged, larger than it may be, or a pickle with anything but plain data in
            it.
    """
    with warnings.catch_warnings():
        # Of storages of an older kind, of odd texts, and of what a file looks like: nothing that a user can
        # act on.
        warnings.simplefilter("ignore")
        content = _loaded(path)
    if fault := _fault_of_content(content):
        raise InputError(f"refused to load {path}: {fault}")
    return content


def _loaded(path: Path) -> Any:
    refuse_faulty(path, fault_of_weights(path))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        require_intact(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    # torch.load and safetensors raise many types on damaged files: UnpicklingError, RuntimeError, EOFError,
    # KeyError, SafetensorError, MemoryError. All mean that the file is not to be had.
    except Exception as error:
        unsafe = "weights_only" in str(error) or "Unsupported global" in str(error)
        raise InputError(f"refused to load {path}: {NOT_PLAIN if unsafe else DAMAGED}") from None


def _fault_of_content(content: Any) -> str:
    """Why what a file holds is not to be used: not plain, too deep, or tensors that stand for more memory.

    A tensor of a few bytes can be laid out (by strides of 0, or as a sparse one) as one of terabytes.
    """
    size, level = 0, [content]
    for _ in range(MAX_DEPTH):
        for value in level:
            if isinstance(value, torch.Tensor):
                if value.layout != torch.strided or value.is_nested or value.is_quantized or value.is_meta:
                    return "it holds tensors of a kind that no weights are"
                size += value.numel() * value.element_size()
        if size > MAX_MODEL_BYTES:
            return f"its tensors are larger than {size_text(MAX_MODEL_BYTES)}"
        # Not by recursion, which has a limit of its own; and a container that holds itself has no end.
        if any(
            not isinstance(name, str | int) for value in level if isinstance(value, dict) for name in value
        ):
            return "it holds names that are no texts"
        inside = {id(value): value for value in level if isinstance(value, dict | list | tuple | set)}
        level = [item for value in inside.values() for item in _items(value)]
        if not level:
            return ""
    return f"it holds containers more than {MAX_DEPTH} deep"


def _items(container: Any) -> Any:
    return container.values() if isinstance(container, dict) else container


def plain_state_dict(data: Any) -> StateDict:
    """Find the tensors in what a file holds and take off the prefixes that wrappers leave on their names."""
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
            break
    if not isinstance(data, dict):
        return {}
    return {
        _without_prefixes(str(name)): value for name, value in data.items() if isinstance(value, torch.Tensor)
    }


def shapes_of(arch: str, classes: int, img_size: int) -> dict[str, torch.Size] | None:
    """The shapes of a backbone's tensors, without the memory that they would take; None where it cannot tell.

    Raises:
        InputError: timm knows no such backbone.
    """
    require_known(arch)
    try:
        with torch.device("meta"):
            model = timm.create_model(arch, pretrained=False, num_classes=classes, **_size_of(arch, img_size))
    # Some backbones compute with their weights when they are made, which tensors without memory cannot.
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return None
    return {name: value.shape for name, value in model.state_dict().items()}


def _size_of(arch: str, img_size: int) -> dict[str, int]:
    # Models with a fixed grid of positions must be told the size; the others do not take the argument.
    fixed = getattr(timm.get_pretrained_cfg(arch, allow_unregistered=False), "fixed_input_size", False)
    return {"img_size": img_size} if fixed else {}


def head_names(arch: str) -> tuple[str, ...]:
    """Names of the modules that map features to classes; some distilled models have two."""
    found = timm.get_pretrained_cfg(arch).classifier or ()
    return (found,) if isinstance(found, str) else tuple(found)


def features_of(model: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the backbone's head sees, and the logits that it makes of it.

    Args:
        model: of timm, with a single linear head (see `has_linear_head`).
        inputs: (n, 3, height, width), normalised.

    Returns:
        Features (n, d) and logits (n, classes).
    """
    seen = model.forward_head(model.forward_features(inputs), pre_logits=True)  # type: ignore[operator]
    logits: torch.Tensor = model.get_classifier()(seen)  # type: ignore[operator]
    return seen, logits


@torch.inference_mode()
def has_linear_head(model: nn.Module, img_size: int) -> bool:
    """Whether the classes are a linear map of one vector of features, as in nearly all of timm's backbones.

    Args:
        model: in evaluation mode.
        img_size: side of its input in pixels.
    """
    device = next(model.parameters()).device
    # Tried rather than looked up: some heads do more than their last layer.
    probe = torch.linspace(-1, 1, 3 * img_size * img_size, device=device).view(1, 3, img_size, img_size)
    try:
        features, logits = features_of(model, probe)
    except (AttributeError, RuntimeError, TypeError, AssertionError):
        return False
    return features.ndim == 2 and torch.allclose(logits, model(probe), atol=1e-4)


def _without_prefixes(name: str) -> str:
    while name.startswith(_WRAPPER_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _fetch_from_hub(repo: str, filename: str | None, arch: str) -> Path:
    import huggingface_hub
    from huggingface_hub.utils import LocalEntryNotFoundError

    names = [filename] if filename else ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        try:
            return Path(huggingface_hub.hf_hub_download(repo, name, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    try:
        # A plain question first: the download itself would try again for most of a minute.
        url = huggingface_hub.hf_hub_url(repo, names[0])
        huggingface_hub.get_hf_file_metadata(url, timeout=HUB_TIMEOUT_SECONDS)
        return Path(huggingface_hub.hf_hub_download(repo, names[0]))
    # Offline mode, no route, a proxy's answer and a missing file come as many types from several libraries.
    except Exception as error:
        raise SkinLesionError(
            f"cannot fetch the pretrained weights of {arch} from the hub ({one_line(error)}); {_INSTEAD}"
        ) from None


def _converted_by_timm(state: Any, model: nn.Module) -> StateDict:
    """Bring weights of an older layout to the present one, by timm's own rules for the architecture."""
    state = plain_state_dict(state)
    module = importlib.import_module(type(model).__module__)
    convert: Callable[..., Any] | None = getattr(module, "checkpoint_filter_fn", None)
    return plain_state_dict(convert(state, model)) if convert else state


def _is_head(name: str, arch: str) -> bool:
    return any(name.startswith(head + ".") for head in head_names(arch))


def _load_all_but_head(model: nn.Module, arch: str, state: StateDict, source: str) -> None:
    wanted = {name: value.shape for name, value in model.state_dict().items() if not _is_head(name, arch)}
    given = {name: value for name, value in state.items() if not _is_head(name, arch)}
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    misshapen = [name for name in wanted if name in given and given[name].shape != wanted[name]]
    for what, names in (("missing", missing), ("unknown", extra), ("of another shape", misshapen)):
        if names:
            raise InputError(
                f"{source} does not fit this backbone: {len(names)} tensors are {what}, {names[0]} among them"
            )
    model.load_state_dict(given, strict=False)


def _renamed_by_order(state: StateDict, model: nn.Module, arch: str) -> StateDict | None:
    own = model.state_dict()
    if state.keys() & own.keys() or len(state) != len(own):
        return None
    renamed: StateDict = {}
    for (name, value), (own_name, own_value) in zip(state.items(), own.items(), strict=True):
        same_role = name.rsplit(".", 1)[-1] == own_name.rsplit(".", 1)[-1]
        if not same_role or (value.shape != own_value.shape and not _is_head(own_name, arch)):
            return None
        renamed[own_name] = value
    return renamed


def with_synchronized_batchnorm(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch normalisation take its statistics over all processes; parameters and names stay the same.

    Raises:
        InputError: the device is no CUDA device; torch has it for no other.
    """
    from timm.layers import convert_sync_batchnorm

    if device.type != "cuda":
        raise InputError(f"--sync-batchnorm is for CUDA, and this runs on {device.type}; leave it out")
    # timm's own, which knows its layers of normalisation and activation; torch's would drop the activation.
    converted: nn.Module = convert_sync_batchnorm(model)
    return converted
