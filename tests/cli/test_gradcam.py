from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli.core.images import centre_frame
from tests.conftest import CLASSES, Run


def test_a_picture_is_drawn_and_told_of(run_in: Run, trained: Path, picture: Path, tmp_path: Path) -> None:
    before = picture.read_bytes()
    out = tmp_path / "heat.png"
    done = run_in(trained, "gradcam", picture, "--out", out, "--class", CLASSES[1], "--alpha", 0.4, "--json")
    document = done.json()
    assert document["class"] == CLASSES[1]
    assert 0 < document["confidence"] < 1
    assert (document["layer"], document["grid"]) == ("stages.4", [2, 2])
    with Image.open(picture) as photograph:
        frame = centre_frame(photograph.size, 64)
    assert document["frame"] == pytest.approx([frame.left, frame.top, frame.right, frame.bottom])
    assert document["out"] == str(out)
    with Image.open(out) as drawn:
        assert drawn.width > 1000
    assert picture.read_bytes() == before
    assert "not a medical device" in done.stderr


def test_the_default_is_the_predicted_class_beside_the_photographs_name(
    run_in: Run, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    done = run_in(tmp_path, "gradcam", picture, "--checkpoint", checkpoint)
    (answer,) = run_in(tmp_path, "predict", picture, "--checkpoint", checkpoint, "--json").json()
    assert done.stdout.startswith(f"{answer['class']}  {answer['confidence']:.1%}\nlayer stages.4 (2×2)")
    assert (tmp_path / "0_gradcam.png").is_file()


def test_wrong_input_is_refused(
    refused: Callable[..., str], checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(own)
    assert "there is no file absent.jpg" in refused("gradcam", "absent.jpg")
    assert "is the photograph itself" in refused("gradcam", "own.png", "--out", "own.png")
    assert ".png, .jpg, .pdf or .svg" in refused("gradcam", "own.png", "--out", "heat.tiff")
    assert "alpha" in refused("gradcam", "own.png", "--alpha", 3)
    model = ["--checkpoint", checkpoint]
    line = refused("gradcam", "own.png", *model, "--layer", "stages.4.1.transformer")
    assert "patch × position" in line
    assert "no class 'ring'" in refused("gradcam", picture, *model, "--class", "ring")


def test_an_unreadable_photograph_is_exit_1(run_in: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    done = run_in(trained, "gradcam", tmp_path / "text.jpg", "--out", tmp_path / "h.png", code=1)
    assert "it is not an image" in done.stderr
    assert not (tmp_path / "h.png").exists()
