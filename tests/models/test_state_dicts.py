import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch.optim.swa_utils import AveragedModel

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.models.checkpoint import load_checkpoint
from skinlesion_cli.models.pretrained import load_init_weights
from skinlesion_cli.models.state_dicts import StateDict

ARCH = "resnet10t"
NAMED: dict[str, Any] = {"arch": ARCH, "classes": ["a", "b"], "img_size": 64}


@pytest.fixture(scope="module")
def state() -> StateDict:
    torch.manual_seed(0)
    return timm.create_model(ARCH, num_classes=2).state_dict()


def prefixed(prefix: str, state: StateDict, **others: Any) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in state.items()} | others


ONE = torch.ones(1)
SAVED: dict[str, Callable[[StateDict], Any]] = {
    "lightning": lambda state: {"epoch": 3, "state_dict": prefixed("model.", state)},
    "lightning with a weighted loss": lambda state: {
        "state_dict": prefixed("net.", state, **{"criterion.weight": torch.ones(2)})
    },
    "backbone": lambda state: prefixed("backbone.", state),
    "encoder in a wrapper": lambda state: {"model": prefixed("module.encoder.", state)},
    "two modules": lambda state: prefixed("model.backbone.", state),
    "swa": lambda state: prefixed("module.", state, n_averaged=torch.tensor(5)),
    "a profiler": lambda state: prefixed("", state, total_ops=ONE, **{"layer1.total_params": ONE}),
    "distributed and compiled": lambda state: prefixed("_orig_mod.module.", state),
}


@pytest.mark.parametrize("kind", SAVED)
def test_what_other_programs_save_is_read(kind: str, state: StateDict, tmp_path: Path) -> None:
    torch.save(SAVED[kind](state), tmp_path / "c.pth")
    own = load_checkpoint(tmp_path / "c.pth", **NAMED).build().state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items())
    model = timm.create_model(ARCH, num_classes=5)
    load_init_weights(model, ARCH, tmp_path / "c.pth")
    assert torch.equal(model.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


def test_torchs_own_average_is_read(state: StateDict, tmp_path: Path) -> None:
    model = timm.create_model(ARCH, num_classes=2)
    model.load_state_dict(state)
    torch.save(AveragedModel(model).state_dict(), tmp_path / "swa.pth")
    loaded = load_checkpoint(tmp_path / "swa.pth", **NAMED)
    assert torch.equal(loaded.build().state_dict()["fc.weight"], state["fc.weight"])


@pytest.mark.parametrize("kind", ["state_dict_ema", "model_ema", "names"])
def test_the_user_chooses_among_two_sets_of_weights(kind: str, state: StateDict, tmp_path: Path) -> None:
    averaged = {name: value + 1 for name, value in state.items()}
    both: dict[str, Any] = {"state_dict": state, "arch": ARCH, kind: prefixed("module.", averaged)}
    if kind == "names":
        both = {"state_dict": prefixed("model.", state) | prefixed("model_ema.module.", averaged)}
    torch.save(both, tmp_path / "c.pth")
    for ema, expected, said in (
        (None, state, "are not taken, unless with --ema"),
        (False, state, "are not taken, unless with --ema"),
        (True, averaged, "is taken"),
    ):
        loaded = load_checkpoint(tmp_path / "c.pth", ema=ema, **NAMED)
        assert torch.equal(loaded.build().state_dict()["fc.weight"], expected["fc.weight"])
        assert said in loaded.notes[-1]


def test_a_set_of_weights_that_is_not_there_is_refused(state: StateDict, tmp_path: Path) -> None:
    torch.save({"state_dict": state}, tmp_path / "last.pth")
    with pytest.raises(InputError, match="no averaged weights"):
        load_checkpoint(tmp_path / "last.pth", ema=True, **NAMED)
    torch.save({"state_dict_ema": state}, tmp_path / "ema.pth")
    assert load_checkpoint(tmp_path / "ema.pth", **NAMED).state.keys() == state.keys()
    with pytest.raises(InputError, match=r"averaged weights .* only"):
        load_checkpoint(tmp_path / "ema.pth", ema=False, **NAMED)


def test_older_names_of_timm_are_read(tmp_path: Path) -> None:
    arch = "swin_tiny_patch4_window7_224"
    state = timm.create_model(arch, num_classes=2).state_dict()
    # Before version 0.9 each stage began with what it now ends with, and the head was no module.
    old = {name.replace("head.fc.", "head."): value for name, value in state.items()}
    for stage in (1, 2, 3):
        start = f"layers.{stage}.downsample"
        old = {name.replace(start, f"layers.{stage - 1}.downsample"): value for name, value in old.items()}
    torch.save(old, tmp_path / "old.pth")
    loaded = load_checkpoint(tmp_path / "old.pth", arch=arch, classes=["a", "b"], img_size=224)
    assert torch.equal(loaded.build().state_dict()["head.fc.weight"], state["head.fc.weight"])


def test_timms_own_checkpoint_is_refused_with_a_way_out(state: StateDict, tmp_path: Path) -> None:
    content = {"epoch": 1, "arch": ARCH, "state_dict": state, "args": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "timm.pth")
    with pytest.raises(InputError, match=r"argparse\.Namespace[^\n]*save the weights alone[^\n]*state_dict"):
        load_checkpoint(tmp_path / "timm.pth", **NAMED)
    found = torch.load(tmp_path / "timm.pth", weights_only=False)
    torch.save(found["state_dict"], tmp_path / "weights.pth")
    load_checkpoint(tmp_path / "weights.pth", **NAMED).build()
    torch.save(timm.create_model(ARCH), tmp_path / "whole.pth")
    with pytest.raises(InputError, match=r"timm\.models\.resnet\.ResNet[^\n]*found\.state_dict\(\)"):
        load_checkpoint(tmp_path / "whole.pth", **NAMED)
