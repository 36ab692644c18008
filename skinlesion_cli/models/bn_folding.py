"""Batch normalisation folded into the preceding convolution, which saves one pass over memory.

In evaluation mode, batch normalisation is a fixed scale and shift per channel, which the convolution's own
weights can express (Jacob et al., *Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference*, CVPR 2018, section 3.2).
"""

import copy
from collections import Counter
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

TOLERANCE = 1e-3
"""Maximum difference of a logit, relative to the largest; rounding errors are 100 times smaller."""


@torch.inference_mode()
def folded(model: nn.Module, img_size: int) -> nn.Module:
    """A copy of the model in which each batch normalisation that directly follows a convolution is folded.

    The model, which must be in evaluation mode, is not changed. It is returned if the copy's logits differ.
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
        # timm fuses dropout and activation with the normalisation.
        rest: list[Any] = [norm.drop, norm.act] if hasattr(norm, "act") else []
        setattr(parent, name, nn.Sequential(*rest))
    expected, answer = model(probe), faster(probe)
    same = (answer - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp_min(1.0)
    return faster.to(memory_format=torch.channels_last) if same else model


def _pairs(model: nn.Module, probe: torch.Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the batch normalisations applied directly to their output, if each runs only once."""
    made: list[tuple[torch.Tensor, nn.Conv2d]] = []
    found: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    runs: Counter[nn.Module] = Counter()

    def convolved(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        runs[module] += 1
        made.append((output, cast(nn.Conv2d, module)))

    def normalising(module: nn.Module, inputs: Any) -> None:
        runs[module] += 1
        if made and made[-1][0] is inputs[0]:
            found.append((made[-1][1], cast(nn.BatchNorm2d, module)))

    with ExitStack() as hooks:
        for one in model.modules():
            if isinstance(one, nn.Conv2d):
                hooks.enter_context(one.register_forward_hook(convolved))
            elif isinstance(one, nn.BatchNorm2d):
                hooks.enter_context(one.register_forward_pre_hook(normalising))
        model(probe)
    return [(conv, norm) for conv, norm in found if runs[conv] == runs[norm] == 1]
