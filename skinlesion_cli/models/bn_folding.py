"""Batch normalisation folded into the convolutions before it: the same function, a pass less over memory.

In evaluation a batch normalisation is a fixed scale and shift of each channel, which the convolution can do
with its own weights (Jacob et al., *Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference*, CVPR 2018, section 3.2).
"""

import copy
from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

TOLERANCE = 1e-3
"""Largest difference of a logit, relative to the largest; rounding stays a hundred times below."""


class _Rest(nn.Module):
    """What timm's normalisations do beside normalising."""

    def __init__(self, norm: Any):
        super().__init__()
        self.drop, self.act = norm.drop, norm.act

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.act(self.drop(inputs))
        return outputs


@torch.inference_mode()
def folded(model: nn.Module, img_size: int) -> nn.Module:
    """A copy of the model with each batch normalisation folded that follows a convolution directly.

    Args:
        model: in evaluation mode; it is left as it is.
        img_size: side of its input in pixels.

    Returns:
        The copy; the model itself where the copy's answers would differ.
    """
    parameter = next(model.parameters())
    probe = torch.linspace(-2, 2, 3 * img_size * img_size, device=parameter.device, dtype=parameter.dtype)
    probe = probe.view(1, 3, img_size, img_size).contiguous(memory_format=torch.channels_last)
    faster = copy.deepcopy(model)
    parents = {
        child: (parent, name) for parent in faster.modules() for name, child in parent.named_children()
    }
    for conv, norm in _pairs(faster, probe):
        fused = fuse_conv_bn_eval(conv, norm)
        conv.weight, conv.bias = fused.weight, fused.bias
        parent, name = parents[norm]
        setattr(parent, name, _Rest(norm) if hasattr(norm, "act") else nn.Identity())
    expected, answer = model(probe), faster(probe)
    same = bool((answer - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp_min(1.0))
    return faster.to(memory_format=torch.channels_last) if same else model


def _pairs(model: nn.Module, probe: torch.Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the batch normalisations that take their output as it is; none that runs twice."""
    made: list[tuple[torch.Tensor, nn.Conv2d]] = []
    found: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    runs: Counter[nn.Module] = Counter()

    def convolved(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        runs[module] += 1
        assert isinstance(module, nn.Conv2d)
        made.append((output, module))

    def normalising(module: nn.Module, inputs: Any) -> None:
        runs[module] += 1
        assert isinstance(module, nn.BatchNorm2d)
        if made and made[-1][0] is inputs[0]:
            found.append((made[-1][1], module))

    hooks = [one.register_forward_hook(convolved) for one in model.modules() if isinstance(one, nn.Conv2d)]
    hooks += [
        one.register_forward_pre_hook(normalising)
        for one in model.modules()
        if isinstance(one, nn.BatchNorm2d)
    ]
    model(probe)
    for hook in hooks:
        hook.remove()
    return [(conv, norm) for conv, norm in found if runs[conv] == runs[norm] == 1]
