import json
import shutil
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub.constants
import pytest
import timm
import torch
from timm.models import save_for_hf

from skinlesion_cli.api.train import train
from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.models.checkpoint import load_checkpoint
from skinlesion_cli.models.model_info import model_in
from skinlesion_cli.models.pretrained import load_start_weights
from skinlesion_cli.models.start_weights import require_start_weights, with_located_weights
from tests.support.hub_cache import COMMIT, fill_cache, use_cache

ARCH = "resnet10t"
NAMES = ["melanoma", "nevus", "wart"]


def saved(folder: Path, arch: str = ARCH, made: dict[str, Any] | None = None, **options: Any) -> Path:
    """A folder as timm's own writer makes it."""
    torch.manual_seed(3)
    model = timm.create_model(arch, num_classes=3, **made or {})
    save_for_hf(model, str(folder), **{"model_config": {"label_names": NAMES}} | options)
    return folder


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of timm's with label names. Read only."""
    return saved(tmp_path_factory.mktemp("theirs") / "lesions", safe_serialization=True)


def edited(folder: Path, target: Path, **changes: Any) -> Path:
    """A copy of a folder whose config.json has other entries; those of pretrained_cfg begin with `cfg_`."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    for name, value in changes.items():
        part = config["pretrained_cfg"] if name.startswith("cfg_") else config
        part[name.removeprefix("cfg_")] = value
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return target


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "pickle of tensors"])
def test_a_folder_of_timms_own_writer_answers_like_timm(safe: bool, tmp_path: Path) -> None:
    folder = saved(tmp_path / "lesions", safe_serialization=safe)
    predictor = load_predictor(f"local-dir:{folder}")
    assert predictor.classes == tuple(NAMES)
    assert predictor.checkpoint.notes == ()
    # resnet10t's: 176 pixels, bicubic, 0.875.
    prepared = predictor.checkpoint.preprocessing
    assert (prepared.img_size, prepared.resize.interpolation, prepared.resize.fit) == (176, "bicubic", "crop")
    assert prepared.resize.ratio == int(176 / 0.875) / 176
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    pixels = torch.randint(0, 256, (1, 3, 176, 176), dtype=torch.uint8)
    config = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        expected = model((pixels / 255 - mean) / std).numpy()
    assert predictor.backend.outputs(pixels.numpy()).logits == pytest.approx(expected, abs=1e-5)


def test_a_backbone_with_a_fixed_grid_is_read_at_its_size(tmp_path: Path) -> None:
    folder = saved(tmp_path / "vit", "vit_tiny_patch16_224", {"img_size": 64}, safe_serialization=True)
    loaded = load_checkpoint(model_in(folder))
    assert loaded.preprocessing.img_size == 64
    loaded.build()


def test_without_label_names_it_is_said_what_is_missing(tmp_path: Path) -> None:
    folder = saved(tmp_path / "lesions", safe_serialization=True, model_config={})
    with pytest.raises(InputError, match=r"config\.json has no label_names: .* of the 3 outputs.*--classes"):
        load_predictor(folder)
    assert load_predictor(folder, classes=NAMES).classes == tuple(NAMES)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cfg_input_size": [1, 64, 64]}, r"input_size is \[1, 64, 64\]; only square RGB"),
        ({"cfg_input_size": [3, 64, 96]}, "only square RGB"),
        ({"cfg_crop_mode": "border", "cfg_crop_pct": 0.9}, "crop_mode border with crop_pct 0.9 is not"),
        ({"cfg_interpolation": "hamming"}, "interpolation hamming is not"),
        ({"model_args": {"global_pool": "max"}}, "global_pool max is not that of resnet10t"),
        ({"model_args": {"stem_type": "deep"}}, r"model_args \(stem_type\) are not supported"),
        ({"model_args": {"img_size": 96}}, "model_args are for images of 96"),
        ({"label_names": ["a", "b"]}, "label_names are not 3 names"),
        ({"cfg_label_offset": 1}, "label_offset is not supported"),
        # Never fetched, because nobody asked for it.
        ({"architecture": "hf-hub:me/other"}, "unknown backbone .*hf-hub:me/other"),
    ],
)
def test_what_cannot_be_done_as_timm_does_is_refused(
    theirs: Path, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        load_checkpoint(model_in(edited(theirs, tmp_path / "model", **changes)))


@pytest.mark.parametrize(("mode", "fit"), [("border", "pad"), ("squash", "squash")])
def test_the_crop_mode_is_a_fit(theirs: Path, tmp_path: Path, mode: str, fit: str) -> None:
    folder = edited(theirs, tmp_path / "model", cfg_crop_mode=mode, cfg_crop_pct=1.0)
    assert load_checkpoint(model_in(folder)).preprocessing.resize.fit == fit


def test_an_older_config_and_names_by_index_are_read(theirs: Path, tmp_path: Path) -> None:
    folder = edited(theirs, tmp_path / "model", label_names={"0": "a", "1": "b", "2": "c"})
    assert load_checkpoint(model_in(folder)).classes == ("a", "b", "c")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    flat = config["pretrained_cfg"] | {"architecture": ARCH, "labels": NAMES}
    (folder / "config.json").write_text(json.dumps(flat), encoding="utf-8")
    assert load_checkpoint(model_in(folder)).classes == tuple(NAMES)


def test_another_librarys_folder_is_not_a_timm_model(theirs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(theirs, tmp_path / "model")
    (folder / "config.json").write_text('{"architectures": ["ViT"], "model_type": "vit"}', encoding="utf-8")
    with pytest.raises(InputError, match="give --arch"):
        load_predictor(folder)
    with pytest.raises(InputError, match="names no architecture; it has architectures, model_type"):
        with_located_weights(Settings(model_arch=f"local-dir:{folder}"))
    (folder / "config.json").write_text("[", encoding="utf-8")
    with pytest.raises(InputError, match="it is not JSON"):
        with_located_weights(Settings(model_arch=str(folder)))
    with pytest.raises(InputError, match="there is no folder absent"):
        with_located_weights(Settings(model_arch="local-dir:absent"))
    with pytest.raises(InputError, match="names no model: write hf-hub:ORG/NAME"):
        load_predictor("hf-hub:")


def test_a_run_starts_from_a_folder_or_a_model_of_the_hub(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = use_cache(tmp_path / "cache", monkeypatch)
    fill_cache(cache, "me/lesions", theirs)
    state = timm.create_model(f"local-dir:{theirs}", pretrained=True).state_dict()
    snapshot = cache / "models--me--lesions" / "snapshots" / COMMIT / "model.safetensors"
    for given, file in (
        ({"model_arch": "hf-hub:me/lesions"}, snapshot),
        ({"model_arch": f"local-dir:{theirs}"}, theirs / "model.safetensors"),
        ({"model_arch": f"{theirs}/"}, theirs / "model.safetensors"),
        ({"model_arch": ARCH, "init_weights": "hf-hub:me/lesions"}, snapshot),
        ({"model_arch": ARCH, "init_weights": theirs}, theirs / "model.safetensors"),
    ):
        settings = with_located_weights(Settings(**given))
        assert (settings.model_arch, settings.init_weights) == (ARCH, file)
        require_start_weights(settings)
    model = create_model(ARCH, 5, 64)
    assert load_start_weights(model, settings) == f"weights of {theirs / 'model.safetensors'}"
    assert torch.equal(model.state_dict()["conv1.0.weight"], state["conv1.0.weight"])
    assert model.state_dict()["fc.weight"].shape == (5, 512)
    bare = with_located_weights(Settings(model_arch="hf-hub:me/lesions", pretrained=False))
    assert (bare.model_arch, bare.init_weights) == (ARCH, None)
    plain = Settings()
    assert with_located_weights(plain) is plain


def test_weights_of_another_backbone_say_which(theirs: Path) -> None:
    settings = with_located_weights(Settings(model_arch="resnet18", init_weights=theirs))
    with pytest.raises(InputError, match=r"is for resnet10t: use --arch .*tensors are missing.* of \d+ fit"):
        load_start_weights(create_model("resnet18", 3, 64), settings)


def test_another_mean_than_the_backbones_is_not_passed_over(theirs: Path, tmp_path: Path) -> None:
    folder = edited(theirs, tmp_path / "model", cfg_mean=[0.5, 0.5, 0.5])
    settings = Settings(model_arch=str(folder), normalization="backbone")
    with pytest.raises(InputError, match="has another mean and std than timm's resnet10t"):
        load_start_weights(create_model(ARCH, 3, 64), with_located_weights(settings))
    load_start_weights(create_model(ARCH, 3, 64), with_located_weights(Settings(model_arch=str(folder))))


def test_a_model_of_the_hub_is_read_from_its_cache(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = use_cache(tmp_path, monkeypatch)
    fill_cache(cache, "me/lesions", theirs)
    fill_cache(cache, "me/branched", theirs, ref="v2")
    for name in (
        "hf-hub:me/lesions",
        "hf_hub:me/lesions",
        "hf-hub:me/branched@v2",
        f"hf-hub:me/lesions@{COMMIT}",
    ):
        assert load_predictor(name).classes == tuple(NAMES)
    # For a file that does not say it, too.
    torch.save(timm.create_model(ARCH, num_classes=3).state_dict(), tmp_path / "w.pth")
    loaded = load_checkpoint(tmp_path / "w.pth", arch="hf-hub:me/lesions", classes=NAMES)
    assert loaded.arch == ARCH
    for name in ("hf-hub:me/absent", "hf-hub:me/branched"):
        with pytest.raises(SkinLesionError, match=rf"cannot fetch {name[7:]} from the hub .*hf download me/"):
            load_predictor(name)


class Hub(BaseHTTPRequestHandler):
    """The part of the hub that serves the files of one model, and keeps what it is asked for."""

    folder: Path
    asked: ClassVar[list[str]]

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        name = self.path.rsplit("/", 1)[-1]
        found = self.path.startswith("/me/lesions/resolve/") and (self.folder / name).is_file()
        self.send_response(200 if found else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        if found:
            self.send_header("ETag", f'"{name}"')
            self.send_header("Content-Length", str((self.folder / name).stat().st_size))
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        path = self.folder / self.path.rsplit("/", 1)[-1]
        if path.is_file():
            self.wfile.write(path.read_bytes())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "pickle of tensors"])
def test_a_model_that_is_not_cached_is_downloaded_once(
    safe: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cache(tmp_path / "cache", monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    Hub.folder, Hub.asked = saved(tmp_path / "lesions", safe_serialization=safe), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        assert load_predictor("hf-hub:me/lesions").classes == tuple(NAMES)
        assert any(path.endswith("/main/config.json") for path in Hub.asked)
        Hub.asked.clear()
        # From the cache, without a request.
        assert load_predictor("hf-hub:me/lesions").classes == tuple(NAMES)
        assert Hub.asked == []
        server.shutdown()


def test_a_run_starts_from_a_folder_and_records_it(theirs: Path, data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    result = train(
        data_root=data,
        out=tmp_path / "run",
        model_arch=f"local-dir:{theirs}",
        img_size=64,
        epochs=1,
        batch_size=8,
        num_workers=0,
        device="cpu",
        on_event=lambda event: said.append(str(getattr(event, "text", ""))),
    )
    assert f"starting from weights of {theirs / 'model.safetensors'}" in said
    assert load_checkpoint(result.checkpoint).arch == ARCH
    settings = tomllib.loads((tmp_path / "run" / "results" / "settings.toml").read_text(encoding="utf-8"))
    assert settings["model_arch"] == ARCH
    assert settings["init_weights"] == str(theirs / "model.safetensors")


def test_our_folder_that_was_edited_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skinlesion_cli.api.timm_folder import export_folder
    from skinlesion_cli.common.events import ignore

    export_folder(load_checkpoint(checkpoint), checkpoint, tmp_path / "model", on_event=ignore)
    fill_cache(use_cache(tmp_path / "cache", monkeypatch), "me/ours", tmp_path / "model")
    hub, own = (load_predictor(name) for name in ("hf-hub:me/ours", checkpoint))
    assert hub.classes == own.classes
    assert hub.checkpoint.distance_limit == own.checkpoint.distance_limit is not None
    renamed = edited(tmp_path / "model", tmp_path / "renamed", label_names=NAMES)
    with pytest.raises(InputError, match="contradicts itself: classes"):
        load_predictor(renamed)
    (tmp_path / "model" / "skinlesion_detector.safetensors").unlink()
    with pytest.raises(InputError, match=r"there is no file .*skinlesion_detector\.safetensors"):
        load_predictor(tmp_path / "model")
