"""Class-activation maps inside an exported graph: exact for a head of average pooling and one linear layer.

Source: Zhou et al., *Learning Deep Features for Discriminative Localization*, CVPR 2016, equations 1 and 2.
There, the logit is a bias plus the sum of the class's map over the positions, so the map is HiResCAM at the
last feature maps without its ReLU, and needs no gradient.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.models.backbone import last_stage

EXACT = 1e-4
"""Tolerance for the difference between sums of maps and logits, relative to the maps: 100 × the rounding
error."""


class ClassMapper(nn.Module):
    """Computes the contribution of each position of the last feature maps to the logit of each class."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, classifier: nn.Linear | nn.Conv2d, layer: str, *, channels_last: bool):
        super().__init__()
        self.layer, self.channels_last, self.grid = layer, channels_last, (0, 0)
        weight, bias = classifier.weight.detach(), classifier.bias
        self.register_buffer("weight", weight.flatten(1)[:, :, None, None])
        self.bias = torch.zeros(len(weight)) if bias is None else bias.detach()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps (n, classes, rows, columns) of features (n, channels, rows, columns), or channels last."""
        if self.channels_last:
            features = features.permute(0, 3, 1, 2)
        return nn.functional.conv2d(features, self.weight) / (features.shape[2] * features.shape[3])


@torch.inference_mode()
def mapper_of(model: nn.Module, arch: str, img_size: int) -> ClassMapper:
    """The mapper of a model in evaluation mode; InputError with the reason if its maps would not be exact."""
    probe = torch.linspace(-1, 1, 3 * img_size * img_size).view(1, 3, img_size, img_size)
    reason = "timm does not tell its features from its head"
    try:
        final = model.forward_features(probe)  # type: ignore[operator]
        classifier = model.get_classifier()  # type: ignore[operator]
    except (AttributeError, RuntimeError, TypeError):
        raise _refusal(arch, reason) from None
    pointwise = isinstance(classifier, nn.Conv2d) and classifier.kernel_size == (1, 1)
    if not isinstance(classifier, nn.Linear) and not pointwise:
        raise _refusal(arch, f"its head ends in {type(classifier).__name__}")
    if not isinstance(final, torch.Tensor) or final.ndim != 4:
        raise _refusal(arch, "its last features are tokens, not a grid of positions")
    expected = model(probe)
    for channels_last in (False, True):
        mapper = ClassMapper(classifier, _layer_of(model, probe, final), channels_last=channels_last)
        if final.shape[3 if channels_last else 1] == mapper.weight.shape[1]:
            maps = mapper(final)
            mapper.grid = (maps.shape[2], maps.shape[3])
            if is_exact(maps.numpy(), expected.numpy(), mapper.bias.numpy()):
                return mapper
    raise _refusal(arch, "its head does more than average the positions and apply one linear layer")


def is_exact(maps: NDArray[np.floating], logits: NDArray[np.floating], bias: NDArray[np.floating]) -> bool:
    """Whether maps (n, classes, rows, columns) add up to logits (n, classes), less a bias (classes,)."""
    scale = abs(maps).sum(axis=(2, 3)).max()
    return bool(abs(maps.sum(axis=(2, 3)) + bias - logits).max() <= EXACT * max(scale, abs(logits).max()))


def _layer_of(model: nn.Module, probe: torch.Tensor, final: torch.Tensor) -> str:
    """The module whose output `final` is: the last stage if it is, else the outermost one."""
    found: list[str] = []

    def record(name: str) -> None:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and torch.equal(output, final):
                found.append(name)

        hooks.append(modules[name].register_forward_hook(hook))

    modules = {
        name: module for name, module in model.named_modules() if name and not isinstance(module, nn.Identity)
    }
    hooks: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for name in modules:
            record(name)
        model(probe)
    finally:
        for one in hooks:
            one.remove()
    stage = last_stage(model)
    return stage if stage in found else (found or [""])[-1]


def _refusal(arch: str, reason: str) -> InputError:
    return InputError(
        f"--cam: no exact class-activation map for {arch}: {reason}; use gradcam with the .pth instead"
    )
