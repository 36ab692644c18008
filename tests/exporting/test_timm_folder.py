import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import timm.data
import torch
from huggingface_hub import ModelCard

from skinlesion_cli.api.timm_folder import export_folder, is_folder_name
from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.events import ignore
from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD, Resize
from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.framing import resize_side
from skinlesion_cli.exporting import verified
from skinlesion_cli.exporting.timm_folder import timm_config
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.models.checkpoint import Checkpoint, load_checkpoint
from skinlesion_cli.models.preprocessing import Preprocessing
from tests.conftest import CLASSES

Fit = str


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run's best model as timm's folder. Read only."""
    target = tmp_path_factory.mktemp("folder") / "model"
    done = export_folder(load_checkpoint(checkpoint), checkpoint, target, on_event=ignore)
    assert done.largest_difference == 0
    return target


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten drawn photographs of different sizes and shapes."""
    made = []
    for index in range(10):
        path = tmp_path_factory.mktemp("photographs") / f"{index}.jpg"
        drawn = draw_lesion(CLASSES[index % 3], 100 + index)
        drawn.resize((150 + 37 * index, 421 - 23 * index)).save(path, quality=92)
        made.append(path)
    return made


# The code of README.md runs first; then every photograph, also as this tool lays tensors out in memory.
AFTER = """
import json
import sys

def logits(layout):
    net = model.to(memory_format=layout)
    seen = [transform(Image.open(name).convert("RGB"))[None] for name in sys.argv[1:]]
    with torch.inference_mode():
        return [net(one.contiguous(memory_format=layout))[0].tolist() for one in seen]

own = [name for name in sys.modules if name.startswith("skinlesion")]
found = {"plain": logits(torch.contiguous_format), "channels last": logits(torch.channels_last)}
print(json.dumps({**found, "config": config, "names": names, "own": own}))
"""


def test_timm_without_us_gives_our_logits(folder: Path, photographs: list[Path], checkpoint: Path) -> None:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    code = code.replace('"photo.jpg"', "__import__('sys').argv[1]")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + AFTER, *map(str, photographs)],
        cwd=folder,
        env=kept | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    # Neither a warning nor a message about our key of config.json.
    assert (done.returncode, done.stderr) == (0, "")
    shown, document = done.stdout.splitlines()
    found = json.loads(document)
    assert found["own"] == []
    assert found["names"] == list(CLASSES)
    assert found["config"] == {
        "input_size": [3, 64, 64],
        "interpolation": "bilinear",
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "crop_pct": pytest.approx(64 / 73),
        "crop_mode": "center",
    }
    predictor = load_predictor(checkpoint)
    backend = predictor.backend
    for index, prediction in enumerate(predictor.predict_many(photographs)):
        with timm_picture(photographs[index]) as picture:
            pixels = view(picture, 64, backend.resize)[None].copy()
        expected = backend.outputs(pixels).logits[0]
        for layout in ("channels last", "plain"):
            assert found[layout][index] == pytest.approx(expected, abs=1e-5)
        if index == 0:
            rounded = {name: round(value, 4) for name, value in prediction.to_dict()["probabilities"].items()}
            assert eval(shown) == pytest.approx(rounded, abs=2e-4)


def timm_picture(path: Path):  # type: ignore[no-untyped-def]
    from PIL import Image

    return Image.open(path).convert("RGB")


def test_it_is_read_back_with_the_same_predictions(
    folder: Path, photographs: list[Path], checkpoint: Path
) -> None:
    before, after = load_predictor(checkpoint), load_predictor(folder)
    named = load_predictor(folder / "model.safetensors")
    predictors = (before, after, before.with_prior("uniform"), named.with_prior("uniform"))
    results = [[one.to_dict() for one in predictor.predict_many(photographs)] for predictor in predictors]
    assert results[0] == results[1]
    assert results[0][0]["distance"] is not None
    assert results[2] == results[3] != results[0]
    assert vars(after.checkpoint) | {"settings": {}} == vars(before.checkpoint) | {"settings": {}}
    lost = before.checkpoint.settings.keys() - after.checkpoint.settings.keys()
    assert lost == {"data_root", "images_root", "init_weights"}


def test_the_readme_is_a_card_for_the_hub(folder: Path, trained: Path) -> None:
    card = ModelCard.load(folder / "README.md", ignore_metadata_errors=False)
    assert card.data.library_name == "timm"
    assert card.data.pipeline_tag == "image-classification"
    assert {"timm", "skin-lesion"} <= set(card.data.tags)
    assert card.data.license is None
    metrics = json.loads((trained / "results" / "metrics.json").read_text(encoding="utf-8"))
    assert f"{metrics['test']['accuracy']:.4f}" in card.content
    assert "--checkpoint ." in card.content
    assert "checkpoints/best_model" not in card.content


def test_it_contains_no_path_of_its_machine(folder: Path, data: Path, trained: Path) -> None:
    for path in folder.iterdir():
        content = path.read_bytes()
        assert str(data.parent).encode() not in content
        assert str(trained).encode() not in content


def test_without_a_run_the_card_says_that_scores_are_unknown(checkpoint: Path, tmp_path: Path) -> None:
    alone, said = tmp_path / "alone.pth", []
    alone.write_bytes(checkpoint.read_bytes())
    export_folder(load_checkpoint(alone), alone, tmp_path / "model", on_event=said.append)
    assert "README.md has no scores" in said[0].text
    text = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "Metrics\n\nUnknown" in text
    assert "synthetic blotch, synthetic crust, synthetic ring" in text
    # Again, over the earlier export.
    export_folder(load_checkpoint(alone), alone, tmp_path / "model", on_event=ignore)
    (tmp_path / "model" / "README.md").write_text(text + "\nMine.", encoding="utf-8")
    with pytest.raises(InputError, match="edited by hand"):
        export_folder(load_checkpoint(alone), alone, tmp_path / "model", on_event=ignore)


def test_nothing_is_lost(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, target = load_checkpoint(checkpoint), tmp_path / "model"

    def export() -> None:
        export_folder(loaded, checkpoint, target, on_event=ignore)

    export()
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    monkeypatch.setattr(verified, "TOLERANCE", -1.0)
    with pytest.raises(SkinLesionError, match="was not written: in timm its probabilities differ"):
        export()
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (target / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"it contains notes\.txt, which is not an earlier output"):
        export()
    (target / "notes.txt").unlink()
    with pytest.raises(InputError, match="an input"):
        export_folder(loaded, target / "model.safetensors", target, on_event=ignore)
    (target / "config.json").write_text('{"architecture": "resnet18"}', encoding="utf-8")
    with pytest.raises(InputError, match="not an earlier output"):
        export()
    monkeypatch.chdir(target)
    with pytest.raises(InputError, match="the current folder"):
        export()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_timms_transform_gives_our_pixels(fit: Fit, interpolation: str) -> None:
    prepared = Preprocessing(96, (0.5, 0.4, 0.3), IMAGENET_STD, Resize(1.14, interpolation, fit))
    config = timm.data.resolve_data_config(pretrained_cfg=timm_config("resnet18", ["a", "b"], prepared))
    transform = timm.data.create_transform(**config, is_training=False, normalize=False)
    different = 0
    for size in ((200, 150), (150, 200), (123, 457), (600, 450), (97, 96), (64, 64), (301, 199)):
        picture = draw_lesion(CLASSES[0], sum(size)).resize(size)
        ours, theirs = view(picture, 96, prepared.resize), np.asarray(transform(picture))
        if fit == "pad":
            # timm rounds the length of the shorter side, and we round it down.
            shorter = 96 * min(size) / max(size)
            assert (ours == theirs).all() or round(shorter) != int(shorter)
            different += bool((ours != theirs).any())
        else:
            assert (ours == theirs).all()
    assert different == (1 if fit == "pad" else 0)


def test_the_crop_is_ours_at_every_side() -> None:
    for side in range(32, 1025):
        prepared = Preprocessing(side, IMAGENET_MEAN, IMAGENET_STD)
        share = timm_config("resnet18", ["a", "b"], prepared)["crop_pct"]
        assert math.floor(side / share) == resize_side(side)


def test_what_names_a_folder(tmp_path: Path) -> None:
    (tmp_path / "there.onnx").mkdir()
    for name in (tmp_path / "there.onnx", Path("model/"), Path("model-v1.0"), Path("a.b/model")):
        assert is_folder_name(name)
    for name in (Path("model.onnx"), Path("model.onx"), Path("model.pth")):
        assert not is_folder_name(name)


def test_a_backbone_with_a_fixed_grid_and_two_heads_is_exported(tmp_path: Path) -> None:
    for arch in ("deit_tiny_distilled_patch16_224", "resnet10t.c3_in1k"):
        made = create_model(arch, 2, 64)
        checkpoint = Checkpoint(
            arch=arch,
            classes=("a", "b"),
            preprocessing=Preprocessing(64, IMAGENET_MEAN, IMAGENET_STD),
            state=made.state_dict(),
        )
        export_folder(checkpoint, Path("none.pth"), tmp_path / arch, on_event=ignore)
        again = load_checkpoint(tmp_path / arch / "model.safetensors").build().state_dict()
        assert all(torch.equal(again[name], value) for name, value in made.state_dict().items())
