"""Backbones from timm: creating one, and what depends on its architecture."""

from typing import Any

import timm
import timm.data
import timm.models
import torch
from torch import nn

from skinlesion_cli.common.errors import InputError, lacks_memory, one_line
from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD
from skinlesion_cli.common.text import nearest, quoted


def create_model(arch: str, classes: int, img_size: int, *, verify: bool = True) -> nn.Module:
    """Create a backbone with random weights and a head for `classes` classes, in training mode.

    With `verify`, one forward pass checks that the backbone takes images of `img_size` × `img_size` pixels.

    Raises:
        InputError: timm has no such backbone (similar names are suggested), or it does not take `img_size`.
    """
    # Models with a fixed grid of positions need the size; the others do not accept the argument.
    size = {"img_size": img_size} if config_of(arch).fixed_input_size else {}
    try:
        model: nn.Module = timm.create_model(
            _present_name(arch), pretrained=False, num_classes=classes, **size
        )
        if verify:
            with torch.inference_mode():
                shape = tuple(model.eval()(torch.zeros(1, 3, img_size, img_size)).shape)
    except (RuntimeError, TypeError, ValueError, AssertionError, ArithmeticError, LookupError) as error:
        raise InputError(
            f"the backbone {arch} cannot take {img_size}×{img_size} images: {one_line(error)}"
        ) from None
    if verify and shape != (1, classes):
        raise InputError(f"the backbone {arch} is not an image classifier: its output has shape {shape}")
    return model.train()


def pools_as(arch: str, pooling: Any) -> bool:
    """Whether the backbone's own pooling of its last features is what timm calls `pooling`."""
    try:
        with torch.device("meta"):
            made = [
                timm.create_model(_present_name(arch), pretrained=False, **asked)
                for asked in ({}, {"global_pool": pooling})
            ]
    except (RuntimeError, TypeError, ValueError, AssertionError, LookupError):
        return False
    # In some models it is a layer, in others an attribute.
    first, second = ((repr(one), repr(getattr(one, "global_pool", ""))) for one in made)
    return first == second


def require_known(arch: str) -> None:
    """Raise InputError, with similar names, unless timm has a backbone of this name."""
    if not timm.is_model(arch):
        raise InputError(f"unknown backbone {quoted(arch)}{nearest(arch, timm.list_models())}")


def _present_name(arch: str) -> str:
    return str(timm.models.get_deprecated_models().get(arch, arch))


def config_of(arch: str) -> Any:
    """The configuration in timm of a backbone's pretrained weights; `arch` may be an older name of it.

    Raises:
        InputError: timm has no such backbone, or none with such weights (`name.weights`).
    """
    require_known(arch)
    try:
        return timm.get_pretrained_cfg(_present_name(arch), allow_unregistered=False)
    except RuntimeError as error:
        raise InputError(f"unknown backbone {quoted(arch)}: {one_line(error)}") from None


def normalization(arch: str, kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the three input channels, for pixels in [0, 1].

    `kind` is "imagenet", or "backbone" for the values that its pretrained weights were trained with.
    """
    if kind == "imagenet":
        return IMAGENET_MEAN, IMAGENET_STD
    config = config_of(arch)
    return tuple(config.mean), tuple(config.std)


def trained_with(arch: str) -> dict[str, Any]:
    """The mean, std, interpolation and crop_pct that timm says its pretrained weights were trained with."""
    return dict(timm.data.resolve_data_config(pretrained_cfg=config_of(arch).to_dict()))


def head_names(arch: str) -> tuple[str, ...]:
    """Names of the modules that map features to classes; some distilled models have two."""
    found = config_of(arch).classifier or ()
    return (found,) if isinstance(found, str) else tuple(found)


def last_stage(model: nn.Module) -> str | None:
    """The last feature stage that timm lists, or the one before an empty placeholder, as in MobileViTv2."""
    stages: Any = getattr(model, "feature_info", None)
    stages = stages if isinstance(stages, list) else getattr(stages, "info", None)
    name = stages[-1].get("module") if stages else None
    modules = dict(model.named_modules())
    if isinstance(modules.get(name), nn.Identity) and "stages" in modules:
        name = f"stages.{len(list(modules['stages'].children())) - 1}"
    return name if name in modules else None


def features_of(model: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The features (n, d) that enter a linear head, and the logits (n, classes) that it computes from them.

    `inputs` are (n, 3, height, width), normalised. For models with `has_linear_head`.
    """
    return pass_of(model, inputs, 0)[:2]


def statistics_of(model: nn.Module, inputs: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Statistics (n, d) of the first `levels` feature maps, and the logits (n, classes).

    For each channel the mean over the positions, and log(standard deviation + 0.01), by which a flat image is
    as far away as a busy one. `inputs` are as in `features_of`. With 0 levels, the features are those of
    `features_of`.
    """
    return pass_of(model, inputs, levels)[:2]


def pass_of(
    model: nn.Module, inputs: torch.Tensor, levels: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Like `statistics_of`, and the feature maps that enter the head; all in one forward pass."""
    if levels == 0:
        final = model.forward_features(inputs)  # type: ignore[operator]
        features = model.forward_head(final, pre_logits=True)  # type: ignore[operator]
        return features, model.get_classifier()(features), final  # type: ignore[operator]
    wanted = list(range(levels))
    final, maps = model.forward_intermediates(inputs, indices=wanted)  # type: ignore[operator]
    statistics = []
    for values in (one.float().flatten(2) for one in maps):
        mean = values.mean(dim=2)
        deviation = (values - mean[..., None]).square().mean(dim=2).sqrt()
        statistics += [mean, (deviation + 0.01).log()]
    return torch.cat(statistics, dim=1), model.forward_head(final), final  # type: ignore[operator]


@torch.inference_mode()
def levels_of(model: nn.Module, img_size: int) -> int:
    """How many feature maps of a model in evaluation mode have a stride of at most 8; at most 3.

    1 if the stride is larger from the start, as in a transformer with large patches; 0 without maps.
    """
    device = next(model.parameters()).device
    probe = torch.linspace(-1, 1, 3 * img_size * img_size, device=device).view(1, 3, img_size, img_size)
    try:
        final, maps = model.forward_intermediates(probe)  # type: ignore[operator]
        logits = model.forward_head(final)  # type: ignore[operator]
        if not all(one.ndim == 4 for one in maps) or not torch.allclose(logits, model(probe), atol=1e-4):
            return 0
    except (AttributeError, RuntimeError, TypeError, AssertionError) as error:
        if lacks_memory(error):
            raise
        return 0
    fine = [one for one in maps if 8 * int(one.shape[-1]) >= img_size]
    return max(1, min(3, len(fine)))


@torch.inference_mode()
def has_linear_head(model: nn.Module, img_size: int) -> bool:
    """Whether a model in evaluation mode computes its logits as a linear map of one feature vector."""
    device = next(model.parameters()).device
    # Tested by running it: some heads do more than their last layer.
    probe = torch.linspace(-1, 1, 3 * img_size * img_size, device=device).view(1, 3, img_size, img_size)
    try:
        features, logits = features_of(model, probe)
    except (AttributeError, RuntimeError, TypeError, AssertionError) as error:
        if lacks_memory(error):
            raise
        return False
    return features.ndim == 2 and torch.allclose(logits, model(probe), atol=1e-4)


def with_synchronized_batchnorm(model: nn.Module, device: torch.device) -> nn.Module:
    """Compute the batch-normalisation statistics over all processes, on CUDA only; names stay the same."""
    if device.type != "cuda":
        raise InputError(f"--sync-batchnorm needs CUDA, and this runs on {device.type}; leave it out")
    # timm's own conversion handles its fused layers of normalisation and activation; torch's would drop the
    # activation.
    return timm.layers.convert_sync_batchnorm(model)  # type: ignore[no-any-return]
