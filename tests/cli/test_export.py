import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from skinlesion_cli.inference.predictor import load_predictor
from tests.conftest import Run
from tests.support.hub_cache import fill_cache
from tests.support.pictures import HOTTEST, pixels_of

HEAVY = {"torch", "torchvision", "timm"}
HEAVY_FOR_PREDICT = HEAVY | {"sklearn", "scipy", "matplotlib", "cv2"}


def test_the_difference_from_torch_is_reported(
    run_in: Run, trained: Path, data: Path, tmp_path: Path
) -> None:
    to = tmp_path / "m.pt2"
    done = run_in(trained, "export", "--to", to, "--data", data / "test")
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == f"{to}: {to.stat().st_size / 1e6:.1f} MB"
    assert second.endswith(", on 9 images")
    assert 0 <= float(second.split("PyTorch's: ")[1].split(",")[0]) < 1e-4


def test_int8_reports_the_loss_of_accuracy(run_in: Run, trained: Path, data: Path, tmp_path: Path) -> None:
    done = run_in(trained, "export", "--to", tmp_path / "m.onnx", "--data", data, "--int8", "--json")
    # Nothing of what the exporters have to say.
    assert done.stderr == ""
    document = done.json()
    assert document["largest_difference"] < 1e-4
    assert document["bytes"]["int8"] == (tmp_path / "m.onnx").stat().st_size < document["bytes"]["fp32"]
    assert set(document["val"]) == {"fp32", "int8"}
    model = ["--checkpoint", "m.onnx", "--json"]
    scored = run_in(tmp_path, "evaluate", "--data", data, "--split", "val", *model).json()
    for name, value in document["val"]["int8"].items():
        assert scored[name] == value


def test_a_folder_for_timm_is_written_and_read_from_the_hubs_cache(
    run_in: Run, trained: Path, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    done = run_in(trained, "export", "--to", tmp_path / "model/", "--json")
    assert done.stderr == ""
    document = done.json()
    files = list((tmp_path / "model").iterdir())
    assert document["bytes"] == sum(path.stat().st_size for path in files)
    assert document["checked_images"] == 8
    assert document["largest_difference"] < 1e-6
    fill_cache(tmp_path / "cache", "me/lesions", tmp_path / "model")
    cache = {"HF_HUB_CACHE": str(tmp_path / "cache")}
    (found,) = run_in(
        tmp_path, "predict", picture, "--checkpoint", "hf-hub:me/lesions@main", "--json", env=cache
    ).json()
    assert found == load_predictor(checkpoint).predict(picture).to_dict()


def imported(folder: Path, *arguments: object) -> set[str]:
    """Top-level modules that a real process imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "skinlesion_cli", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}


def test_an_onnx_is_run_without_torch(exported: Path, data: Path, tmp_path: Path) -> None:
    model = ["--checkpoint", exported]
    predicting = imported(tmp_path, "predict", data / "test", *model, "--csv", "p.csv")
    assert "onnxruntime" in predicting
    assert not predicting & HEAVY_FOR_PREDICT
    evaluating = imported(tmp_path, "evaluate", "--data", data, *model)
    assert "onnxruntime" in evaluating
    assert not evaluating & HEAVY


def test_an_onnx_draws_its_own_maps_without_torch(
    exported: Path, exported_cam: Path, picture: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    model = ["--checkpoint", exported_cam]
    assert not imported(tmp_path, "gradcam", picture, *model, "--out", "heat.png") & HEAVY
    assert pixels_of(tmp_path / "heat.png", HOTTEST) > 20
    assert "export it again with --cam" in refused("gradcam", picture, "--checkpoint", exported)
    line = refused("gradcam", picture, *model, "--method", "layercam")
    assert (
        "contains the maps of stages.4, which are those of gradcam and hirescam; for others, use the .pth"
        in line
    )


def test_wrong_usage_is_refused(
    refused: Callable[..., str], exported: Path, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    assert "Missing option '--to'" in refused("export")
    assert "the file must be a .onnx, .pt2, .pte, .mlpackage" in refused("export", "--to", "m.pth")
    assert "there is no file checkpoints/best_model.pth" in refused("export", "--to", "m.onnx")
    assert "it is an exported model" in refused("export", "--checkpoint", exported, "--to", "m.onnx")
    assert "--int8 needs --data" in refused("export", "--checkpoint", checkpoint, "--to", "m.onnx", "--int8")
    assert "it contains best_model.pth" in refused(
        "export", "--checkpoint", checkpoint, "--to", checkpoint.parent, "--data", data / "test"
    )
    assert "--cam needs --to FILE.onnx" in refused("export", "--to", "m.pt2", "--cam")
    assert "there is no file absent" in refused("export", "--to", "m.onnx", "--data", "absent")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["onnx", "onnxruntime"])
def test_without_the_extra_one_line_names_it(
    refused: Callable[..., str], exported: Path, checkpoint: Path, picture: Path, tmp_path: Path, module: str
) -> None:
    # To the import system, None means that there is no such module.
    hidden = f"import sys\nsys.modules[{module!r}] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hidden, encoding="utf-8")
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    line = refused("export", "--checkpoint", checkpoint, "--to", "m.onnx", env=env)
    assert f"{module} is needed to write an .onnx: pip install {module}" in line
    if module == "onnxruntime":
        line = refused("predict", picture, "--checkpoint", exported, env=env)
        assert "onnxruntime is needed to run an .onnx: pip install onnxruntime" in line
