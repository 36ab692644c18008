import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.models.pretrained import load_init_weights, load_pretrained

ARCH = "mobilevitv2_050"


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    """The state of a backbone with ImageNet's 1000 classes, and numbers of its own."""
    torch.manual_seed(11)
    return timm.create_model(ARCH, num_classes=1000).state_dict()


def assert_only_the_head_is_new(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    for name, value in model.state_dict().items():
        if name.startswith("head.fc"):
            assert value.shape[0] == 3
        else:
            assert torch.equal(value, state[name]), name


@pytest.mark.parametrize("wrap", ["pth", "safetensors", "module", "wrapped"])
def test_init_weights_fit_whatever_their_classes(
    tmp_path: Path, imagenet: dict[str, torch.Tensor], wrap: str
) -> None:
    path = tmp_path / ("w.safetensors" if wrap == "safetensors" else "w.pth")
    if wrap == "safetensors":
        save_file(imagenet, path)
    elif wrap == "module":
        torch.save({f"module._orig_mod.{name}": value for name, value in imagenet.items()}, path)
    else:
        torch.save({"state_dict": imagenet, "epoch": 3} if wrap == "wrapped" else imagenet, path)
    model = create_model(ARCH, 3, 64)
    load_init_weights(model, ARCH, path)
    assert_only_the_head_is_new(model, imagenet)


def test_the_same_tensors_under_other_names_are_matched_by_order(
    tmp_path: Path, imagenet: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "w.pth"
    torch.save({"_" + name.replace(".", "_.", 1): value for name, value in imagenet.items()}, path)
    model = create_model(ARCH, 3, 64)
    assert "matched by their order" in load_init_weights(model, ARCH, path)
    assert_only_the_head_is_new(model, imagenet)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), path)
    with pytest.raises(InputError, match=r"w\.pth does not fit this backbone: \d+ tensors are missing"):
        load_init_weights(create_model(ARCH, 3, 64), ARCH, path)


def test_a_wider_backbone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(timm.create_model("mobilevitv2_075").state_dict(), path)
    with pytest.raises(InputError, match="of another shape"):
        load_init_weights(create_model(ARCH, 3, 64), ARCH, path)


# The hub's cache: models--OWNER--NAME/snapshots/REVISION/FILE, and refs/main naming the revision.
def fill_hub_cache(hub: Path, state: dict[str, torch.Tensor]) -> None:
    repository = hub / "hub" / f"models--timm--{ARCH}.cvnets_in1k"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    save_file(state, snapshot / "model.safetensors")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_pretrained_loads_from_the_hubs_cache_offline(hub: Path, imagenet: dict[str, torch.Tensor]) -> None:
    fill_hub_cache(hub, imagenet)
    model = create_model(ARCH, 3, 64)
    load_pretrained(model, ARCH)
    assert_only_the_head_is_new(model, imagenet)


def test_without_cache_and_network_the_error_says_what_to_do(hub: Path) -> None:
    shutil.rmtree(hub / "hub", ignore_errors=True)
    with pytest.raises(SkinLesionError, match=r"--init-weights FILE.*--no-pretrained"):
        load_pretrained(create_model(ARCH, 3, 64), ARCH)
