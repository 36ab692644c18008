"""A training step on a CPU that copies less computes the same."""

import copy

import pytest
import timm
import torch
from torch import nn

from skinlesion_cli.models.copies import without_copies


def gradient(model: nn.Module) -> torch.Tensor:
    """Of all weights, in a step on the same two images."""
    inputs = torch.linspace(-2, 2, 2 * 3 * 64 * 64).view(2, 3, 64, 64)
    logits = model(inputs.contiguous(memory_format=torch.channels_last))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()  # type: ignore[no-untyped-call]
    return torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])


@pytest.mark.parametrize("arch", ["mobilevitv2_050", "efficientnet_lite0", "mobilenetv3_small_050"])
def test_the_gradient_is_the_same_and_no_input_is_kept_twice(arch: str) -> None:
    torch.manual_seed(0)
    plain = timm.create_model(arch, num_classes=3).to(memory_format=torch.channels_last).train()
    changed = without_copies(copy.deepcopy(plain), torch.device("cpu"))
    assert plain.state_dict().keys() == changed.state_dict().keys()
    before, after = gradient(plain), gradient(changed)
    assert before.norm() > 0
    assert (after - before).norm() < 1e-4 * before.norm()
    kinds = (nn.SiLU, nn.Hardswish)
    assert not any(one.inplace for one in changed.modules() if isinstance(one, kinds))


def test_the_patches_of_mobilevitv2_are_channels_last() -> None:
    seen = []
    model = timm.create_model("mobilevitv2_050", num_classes=3).to(memory_format=torch.channels_last)
    without_copies(model, torch.device("cpu"))
    for name, module in model.named_modules():
        if name.endswith("transformer"):
            module[0].register_forward_hook(lambda _, inputs, out: seen.extend([inputs[0], out]))
    model(torch.zeros(2, 3, 128, 128).contiguous(memory_format=torch.channels_last))
    assert len(seen) == 6
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in seen)


def test_on_other_devices_nothing_changes() -> None:
    model = timm.create_model("mobilevitv2_050", num_classes=3)
    without_copies(model, torch.device("meta"))
    assert any(one.inplace for one in model.modules() if isinstance(one, nn.SiLU))
