from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skinlesion_cli.inference.torch_backend import IMAGES_A_CORE, TorchBackend, backend_of
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.models.bn_folding import folded
from skinlesion_cli.models.checkpoint import load_checkpoint
from skinlesion_cli.models.device import choose_runtime

# One more than a piece takes.
IMAGES = IMAGES_A_CORE * torch.get_num_threads() + 1
PIXELS = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 64, 64), np.uint8)


def lived_in(model: nn.Module) -> nn.Module:
    """The model with statistics in its normalisations that are not those of a new one."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("arch", ["mobilevitv2_050", "resnet10t", "tf_efficientnet_lite0"])
def test_the_copy_agrees_and_the_model_is_unchanged(arch: str) -> None:
    torch.manual_seed(0)
    model = lived_in(create_model(arch, 5, 64))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    faster = folded(model, 64)
    assert norms(model) > 10
    assert norms(faster) == 0
    inputs = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        expected = model(inputs)
        assert torch.allclose(faster(inputs), expected, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Twice(nn.Module):
    """A convolution whose output is normalised in two ways, and added to itself as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        made = self.conv(inputs)
        outputs: torch.Tensor = (made + self.one(made) + self.two(made)).mean(dim=(2, 3))
        return outputs


def test_what_cannot_be_folded_stays_as_it_is() -> None:
    model = lived_in(Twice())
    assert folded(model, 16) is model
    transformer = create_model("test_vit", 3, 160).eval()
    inputs = torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        assert torch.allclose(folded(transformer, 160)(inputs), transformer(inputs), atol=1e-5)


def test_pieces_and_folding_change_no_prediction(checkpoint: Path) -> None:
    loaded, runtime = load_checkpoint(checkpoint), choose_runtime("cpu", "fp32", training=False)
    plain = TorchBackend(loaded.build(), loaded.preprocessing, runtime)
    with torch.inference_mode():
        expected = plain.model(plain.inputs(torch.from_numpy(PIXELS)))
    frozen = backend_of(loaded, runtime)
    for backend in (plain, frozen):
        assert torch.allclose(backend.logits(torch.from_numpy(PIXELS)), expected, atol=1e-5)
    assert norms(frozen.model) > 0
    single = frozen.logits(torch.from_numpy(PIXELS[:1]))
    assert torch.allclose(single, expected[:1], atol=1e-5)


def test_the_copy_is_checked_in_the_precision_of_scoring(checkpoint: Path) -> None:
    # In TF32, which the program or training may have left on, a sound copy would be refused.
    backend = backend_of(load_checkpoint(checkpoint), choose_runtime("cpu", "fp32", training=False))
    seen: list[str] = []
    backend.model.register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    torch.set_float32_matmul_precision("high")
    try:
        backend.logits(torch.zeros(2, 3, backend.img_size, backend.img_size, dtype=torch.uint8))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert len(seen) > 2
    assert set(seen) == {"highest"}
