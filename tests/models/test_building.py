"""How often a network is made and run while a trained model is loaded."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.models.checkpoint import Checkpoint, load_checkpoint
from skinlesion_cli.models.model_info import Preprocessing


@contextmanager
def counted(kind: type[nn.Module]) -> Iterator[Counter[str]]:
    """Count how many networks of a kind are made, and how often their first module runs."""
    counts: Counter[str] = Counter()
    original = kind.__init__
    first: list[nn.Module] = []

    def counting(self: nn.Module, *arguments: object, **options: object) -> None:
        counts["made"] += 1
        original(self, *arguments, **options)

    def ran(module: nn.Module, *_: object) -> None:
        first.append(module)
        counts["run"] += module is first[0]

    hook = nn.modules.module.register_module_forward_pre_hook(ran)
    kind.__init__ = counting  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        kind.__init__ = original  # type: ignore[method-assign]
        hook.remove()


def test_loading_makes_the_network_once_and_does_not_run_it(checkpoint: Path, picture: Path) -> None:
    kind = type(load_checkpoint(checkpoint).build())
    with counted(kind) as counts:
        predictor = load_predictor(checkpoint)
        assert counts == {"made": 1}
        predictor.predict(picture)
        assert counts == {"made": 1, "run": 1}


def trained(arch: str, side: int) -> tuple[nn.Module, Checkpoint]:
    torch.manual_seed(0)
    size = {"img_size": side} if arch.startswith("swin") else {}
    model = timm.create_model(arch, num_classes=2, **size).eval()
    preprocessing = Preprocessing(side, (0.0,) * 3, (1.0,) * 3)
    state = model.state_dict()
    return model, Checkpoint(arch=arch, classes=("a", "b"), preprocessing=preprocessing, state=state)


@pytest.mark.parametrize(
    ("arch", "made"),
    [
        ("resnet10t", 1),
        # Its constructor computes buffers that no checkpoint holds.
        ("swin_tiny_patch4_window7_224", 2),
    ],
)
def test_a_built_model_is_the_one_that_was_saved(arch: str, made: int) -> None:
    model, saved = trained(arch, 224)
    with counted(type(model)) as counts:
        built = saved.build().eval()
    assert counts["made"] == made
    inputs = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(built(inputs), model(inputs))


def test_weights_in_half_precision_make_a_model_in_fp32() -> None:
    model, saved = trained("resnet10t", 64)
    halves = {
        name: value.half() if value.is_floating_point() else value for name, value in saved.state.items()
    }
    built = Checkpoint(
        arch=saved.arch, classes=saved.classes, preprocessing=saved.preprocessing, state=halves
    ).build()
    assert {value.dtype for value in built.parameters()} == {torch.float32}
    assert torch.allclose(built.eval()(torch.ones(1, 3, 64, 64)), model(torch.ones(1, 3, 64, 64)), atol=0.05)


def test_a_size_that_does_not_fit_the_weights_is_refused() -> None:
    _, saved = trained("resnet10t", 64)
    more = Checkpoint(
        arch=saved.arch, classes=("a", "b", "c"), preprocessing=saved.preprocessing, state=saved.state
    )
    with pytest.raises(InputError, match=r"fc\.weight has shape \(2, 512\), expected \(3, 512\)"):
        more.build()
