import json
import os
import pickle
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from skinlesion_cli.common import paper
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.models.checkpoint import FORMAT, Checkpoint, load_checkpoint, save_checkpoint
from skinlesion_cli.models.model_info import Preprocessing
from tests.conftest import CLASSES

ARCH = "mobilevitv2_050"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return timm.create_model(ARCH, num_classes=3).state_dict()


def test_our_own_checkpoint_describes_itself(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    assert content["format"] == FORMAT
    assert content["arch"] == ARCH
    assert content["classes"] == list(CLASSES)
    assert content["img_size"] == 64
    assert content["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert content["class_counts"] == dict(zip(CLASSES, (12, 7, 4), strict=True))
    assert content["settings"]["loss_beta"] == 0.999
    assert 0 <= content["metrics"]["val_weighted_f1"] <= 1
    assert 0.05 <= content["temperature"] <= 20
    # Mean and deviation of 32, 64 and 128 channels.
    assert content["novelty"]["mean"].shape == (448,)
    assert content["novelty"]["levels"] == 3
    # The second of 32 distances.
    assert content["false_alarm_rate"] == 2 / 33
    assert content["distance_limit"] > 0
    assert {"skinlesion", "torch", "timm"} <= content["versions"].keys()
    assert not [name for name in content["model"] if name.startswith(("module.", "_orig_mod."))]
    timm.create_model(ARCH, num_classes=3).load_state_dict(content["model"])


def test_a_dict_with_a_model_name_loads(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "c.pth"
    torch.save({"model": state, "classes": ["a", "b", "c"], "model_name": ARCH}, path)
    loaded = load_checkpoint(path)
    assert (loaded.arch, loaded.classes) == (ARCH, ("a", "b", "c"))
    # The paper's code saves such files, and normalises every backbone as ImageNet.
    assert loaded.preprocessing == Preprocessing(256, paper.IMAGENET_MEAN, paper.IMAGENET_STD)
    assert "so as in the paper's code" in loaded.notes[0]
    loaded.build()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_bare_state_dict_needs_its_architecture_and_classes(
    tmp_path: Path, state: dict[str, torch.Tensor], suffix: str
) -> None:
    path = tmp_path / f"c{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = load_checkpoint(path, arch=ARCH, classes=["a", "b", "c"], img_size=64)
    assert torch.equal(loaded.build().state_dict()["stem.conv.weight"], state["stem.conv.weight"])
    with pytest.raises(InputError, match="give --arch"):
        load_checkpoint(path, classes=["a", "b", "c"])
    with pytest.raises(InputError, match="give --classes"):
        load_checkpoint(path, arch=ARCH)
    with pytest.raises(InputError, match="has a head for 3 classes, but 2 are named: a, b"):
        load_checkpoint(path, arch=ARCH, classes=["a", "b"])


def test_safetensors_may_describe_itself(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "c.safetensors"
    save_file(state, path, {"arch": ARCH, "classes": json.dumps(["a", "b", "c"]), "img_size": "64"})
    loaded = load_checkpoint(path)
    assert (loaded.arch, loaded.classes, loaded.preprocessing.img_size) == (ARCH, ("a", "b", "c"), 64)


class Malicious:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("kind", ["torch", "plain"])
def test_a_pickle_with_code_in_it_is_refused_and_runs_nothing(tmp_path: Path, kind: str) -> None:
    path, ran = tmp_path / "c.pth", tmp_path / "ran"
    if kind == "torch":
        torch.save({"model": Malicious(ran)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(ran), protocol=2))
    with pytest.raises(InputError, match=r"refused to load .*more than tensors and plain data"):
        load_checkpoint(path)
    assert not ran.exists()
    # The file is dangerous indeed: unpickling it does run.
    if kind == "plain":
        pickle.loads(path.read_bytes())
        assert ran.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": {}}, "contains no model"),
        ({"arch": "resnet9000"}, "unknown backbone"),
        ({"arch": 3}, "give --arch"),
        ({"img_size": -5}, "images of -5 pixels"),
        ({"img_size": "large"}, "invalid preprocessing"),
        ({"preprocessing": {"mean": [0, 0], "std": [1, 1, 1]}}, "invalid preprocessing"),
        ({"preprocessing": {"mean": [0, 0, 0], "std": [0, 1, 1]}}, "invalid preprocessing"),
    ],
)
def test_invalid_files_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], change: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "c.pth"
    torch.save({"model": state, "arch": ARCH, "classes": ["a", "b", "c"]} | change, path)
    with pytest.raises(InputError, match=reason):
        load_checkpoint(path)


def test_a_file_and_an_option_that_disagree_are_refused(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="disagrees with --arch: it has mobilevitv2_050"):
        load_checkpoint(checkpoint, arch="resnet18")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "c.pth"
    del state["stem.conv.weight"]
    torch.save({"model": state, "arch": ARCH, "classes": ["a", "b", "c"]}, path)
    with pytest.raises(InputError, match=r"do not fit mobilevitv2_050.*stem\.conv\.weight"):
        load_checkpoint(path).build()


def test_ctrl_c_while_it_writes_is_ctrl_c_and_leaves_the_earlier_file(
    checkpoint: Path, tmp_path: Path
) -> None:
    loaded, path = load_checkpoint(checkpoint), tmp_path / "last.pth"
    save_checkpoint(path, loaded)
    before = path.read_bytes()

    def press() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if any(other.stat().st_size for other in tmp_path.glob(".last.*")):
                os.kill(os.getpid(), signal.SIGUSR1)
                return

    earlier = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    presser = threading.Thread(target=press)
    presser.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(path, loaded, padding=[torch.zeros(500_000) for _ in range(40)])
    finally:
        presser.join()
        signal.signal(signal.SIGUSR1, earlier)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


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


def saved_model(arch: str, side: int) -> tuple[nn.Module, Checkpoint]:
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
    model, saved = saved_model(arch, 224)
    with counted(type(model)) as counts:
        built = saved.build().eval()
    assert counts["made"] == made
    inputs = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(built(inputs), model(inputs))


def test_weights_in_half_precision_make_a_model_in_fp32() -> None:
    model, saved = saved_model("resnet10t", 64)
    halves = {
        name: value.half() if value.is_floating_point() else value for name, value in saved.state.items()
    }
    built = Checkpoint(
        arch=saved.arch, classes=saved.classes, preprocessing=saved.preprocessing, state=halves
    ).build()
    assert {value.dtype for value in built.parameters()} == {torch.float32}
    assert torch.allclose(built.eval()(torch.ones(1, 3, 64, 64)), model(torch.ones(1, 3, 64, 64)), atol=0.05)


def test_a_size_that_does_not_fit_the_weights_is_refused() -> None:
    _, saved = saved_model("resnet10t", 64)
    more = Checkpoint(
        arch=saved.arch, classes=("a", "b", "c"), preprocessing=saved.preprocessing, state=saved.state
    )
    with pytest.raises(InputError, match=r"2 tensors are of another shape, fc\.weight among them"):
        more.build()
