import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.models.backbone import (
    create_model,
    load_init_weights,
    load_pretrained,
    normalization,
    plain_state_dict,
    read_tensors,
    require_known,
)

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


def test_the_papers_model_has_4_4_million_parameters() -> None:
    model = create_model("mobilevitv2_100", 14, 256)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(4.4e6, rel=0.01)


def test_an_unknown_backbone_is_refused_with_near_names() -> None:
    with pytest.raises(InputError, match="unknown backbone 'mobilevit2_100'; did you mean mobilevitv2_100"):
        require_known("mobilevit2_100")


def test_a_vit_takes_the_size_it_is_told() -> None:
    model = create_model("vit_tiny_patch16_224", 3, 64)
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_size_that_a_backbone_cannot_take_is_refused() -> None:
    with pytest.raises(InputError, match="cannot take 256×256 images"):
        create_model("efficientformer_l1", 3, 256)


def test_normalization_is_imagenets_or_the_backbones() -> None:
    assert normalization(ARCH, "imagenet") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalization(ARCH, "backbone") == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


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


def test_prefixes_of_wrappers_are_taken_off() -> None:
    value = torch.zeros(1)
    state = {"model": {"_orig_mod.module.a.weight": value, "modules.b": value, "note": "text"}}
    assert set(plain_state_dict(state)) == {"a.weight", "modules.b"}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"\x93 no weights")
    with pytest.raises(InputError, match=r"refused to load .*damaged"):
        read_tensors(path)


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
