import argparse
import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import timm.optim
import timm.utils
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
        (None, state, "are taken only with --ema"),
        (False, state, "are taken only with --ema"),
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
    with pytest.raises(InputError, match=r"only averaged weights"):
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


def saved_by_timm(folder: Path, state: StateDict, args: argparse.Namespace | None) -> Path:
    """The last.pth.tar of timm's training script, with averaged weights that are those and 1."""
    model, averaged = (timm.create_model(ARCH, num_classes=2) for _ in range(2))
    model.load_state_dict(state)
    averaged.load_state_dict({name: value + 1 for name, value in state.items()})
    optimizer = timm.optim.create_optimizer_v2(model, opt="adamw", lr=0.1)
    ema = timm.utils.ModelEmaV3(averaged)
    saver = timm.utils.CheckpointSaver(
        model, optimizer, args=args, model_ema=ema, checkpoint_dir=folder, recovery_dir=folder
    )
    saver.save_checkpoint(1, metric=0.5)
    return folder / "last.pth.tar"


def test_the_file_of_timms_training_script_is_read(state: StateDict, tmp_path: Path) -> None:
    options = argparse.Namespace(model=ARCH, img_size=96, mean=[0.5], std=None, crop_pct=1.0, opt="adamw")
    path = saved_by_timm(tmp_path, state, options)
    for ema, added in ((None, 0), (True, 1)):
        loaded = load_checkpoint(path, classes=["a", "b"], ema=ema)
        assert loaded.arch == ARCH
        # As timm resolves them: from the options, and else from its weights of the backbone.
        assert loaded.preprocessing.plain() == {
            "img_size": 96,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.229, 0.224, 0.225],
            "resize_ratio": 1.0,
            "interpolation": "bicubic",
            "fit": "crop",
        }
        assert [note for note in loaded.notes if "does not say" in note] == []
        assert torch.equal(loaded.build().state_dict()["fc.weight"], state["fc.weight"] + added)
        model = timm.create_model(ARCH, num_classes=5)
        said = load_init_weights(model, ARCH, path, ema=bool(ema))
        assert torch.equal(model.state_dict()["conv1.0.weight"], state["conv1.0.weight"] + added)
        assert ("state_dict_ema is taken" in said) == bool(ema)
    with pytest.raises(InputError, match="invalid options of timm's training script"):
        load_checkpoint(
            saved_by_timm(tmp_path, state, argparse.Namespace(model=ARCH, mean=[1.0, 2.0])),
            classes=["a", "b"],
        )
    # Without its options, it names the class of the network: resnet.
    path = saved_by_timm(tmp_path, state, None)
    assert load_checkpoint(path, **NAMED).arch == ARCH
    with pytest.raises(InputError, match=r"unknown backbone .*resnet"):
        load_checkpoint(path, classes=["a", "b"])


# As vision_learner of fastai names the parts of a network of timm, and as a teacher is trained in Lightning.
INSIDE: dict[str, Callable[[StateDict], Any]] = {
    "fastai": lambda state: {
        "model": prefixed("0.model.", state) | prefixed("1.", {"8.weight": torch.ones(2, 512)}),
        "opt": {"state": [], "hypers": [{"lr": 0.1}]},
    },
    "lightning": lambda state: {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed("net.", state, **{"val_f1.tp": torch.zeros(2), "val_f1.fp": torch.zeros(2)}),
        "hyper_parameters": {"lr": 0.1, "classes": ["a", "b"]},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"params": [0]}]}],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
    },
}


@pytest.mark.parametrize("kind", INSIDE)
def test_a_network_inside_another_one_is_found(kind: str, state: StateDict, tmp_path: Path) -> None:
    torch.save(INSIDE[kind](state), tmp_path / "c.ckpt")
    model = timm.create_model(ARCH, num_classes=5)
    said = load_init_weights(model, ARCH, tmp_path / "c.ckpt")
    assert torch.equal(model.state_dict()["conv1.0.weight"], state["conv1.0.weight"])
    assert re.search(rf"the {len(state)} tensors of .* are taken, \d others are not", said)
    loaded = load_checkpoint(tmp_path / "c.ckpt", **NAMED)
    assert torch.equal(loaded.build().state_dict()["fc.weight"], state["fc.weight"])
    assert re.search(r"c\.ckpt: the \d+ tensors of .* are taken", loaded.notes[-1])


def test_fastais_body_without_timms_head_is_no_checkpoint(state: StateDict, tmp_path: Path) -> None:
    body = {name: value for name, value in state.items() if not name.startswith("fc.")}
    torch.save(
        {"model": prefixed("0.model.", body, **{"1.8.weight": torch.ones(2, 512)})}, tmp_path / "c.pth"
    )
    load_init_weights(timm.create_model(ARCH, num_classes=5), ARCH, tmp_path / "c.pth")
    with pytest.raises(InputError, match=rf"tensors are missing, .* among them; 0 of {len(state)} fit"):
        load_checkpoint(tmp_path / "c.pth", **NAMED).build()


def test_what_cannot_be_read_says_what_was_found(state: StateDict, tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save(prefixed("student.", state) | prefixed("teacher.", state), path)
    for read in (
        lambda: load_checkpoint(path, **NAMED),
        lambda: load_init_weights(timm.create_model(ARCH), ARCH, path),
    ):
        with pytest.raises(InputError, match=r"the file contains 2 networks, student\., teacher\."):
            read()
    torch.save({"optimizer": {"lr": 0.1}, "epoch": 3}, path)
    with pytest.raises(InputError, match="contains no model; it has optimizer, epoch"):
        load_checkpoint(path, **NAMED)
    with pytest.raises(InputError, match="contains no weights; it has optimizer, epoch"):
        load_init_weights(timm.create_model(ARCH), ARCH, path)
    # What Lightning's save_hyperparameters may add, or fastai's save of an optimiser.
    torch.save({"state_dict": state, "hyper_parameters": {"at": datetime.timedelta(1)}}, path)
    with pytest.raises(InputError, match=r"datetime\.timedelta[^\n]*save only the weights[^\n]*state_dict"):
        load_checkpoint(path, **NAMED)
    torch.save(timm.create_model(ARCH), path)
    with pytest.raises(InputError, match=r"timm\.models\.resnet\.ResNet[^\n]*found\.state_dict\(\)"):
        load_checkpoint(path, **NAMED)
