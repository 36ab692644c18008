from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from skinlesion_cli.data.framing import seen_frame
from skinlesion_cli.report.figures import probability_text
from tests.conftest import CLASSES, Run
from tests.support.pictures import HOTTEST, pixels, pixels_of


def test_a_figure_is_drawn_and_reported(run_in: Run, trained: Path, picture: Path, tmp_path: Path) -> None:
    before = picture.read_bytes()
    out = tmp_path / "heat.png"
    done = run_in(trained, "gradcam", picture, "--out", out, "--class", CLASSES[1], "--alpha", 0.4, "--json")
    document = done.json()
    assert document["class"] == CLASSES[1]
    assert 0 < document["confidence"] < 1
    assert document["method"] == "gradcam"
    assert (document["layer"], document["grid"]) == ("stages.4", [2, 2])
    with Image.open(picture) as photograph:
        frame = seen_frame(photograph.size, 64)
    assert document["frame"] == pytest.approx([frame.left, frame.top, frame.right, frame.bottom])
    assert document["out"] == str(out)
    assert pixels(out).shape[1] > 1000
    assert pixels_of(out, HOTTEST) > 20
    assert picture.read_bytes() == before
    assert "not a medical device" in done.stderr


def test_the_default_is_the_predicted_class_beside_the_photographs_name(
    run_in: Run, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    done = run_in(tmp_path, "gradcam", picture, "--checkpoint", checkpoint)
    (answer,) = run_in(tmp_path, "predict", picture, "--checkpoint", checkpoint, "--json").json()
    assert done.stdout.startswith(
        f"{answer['class']}  {probability_text(answer['confidence'])}\nlayer stages.4 (2×2)"
    )
    assert (tmp_path / "0_gradcam.png").is_file()


def test_wrong_input_is_refused(
    refused: Callable[..., str], checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(own)
    assert "there is no file absent.jpg" in refused("gradcam", "absent.jpg")
    assert "would overwrite the photograph own.png" in refused("gradcam", "own.png", "--out", "own.png")
    assert ".png, .jpg, .pdf or .svg" in refused("gradcam", "own.png", "--out", "heat.tiff")
    assert "no method 'gradcm'; did you mean gradcam" in refused("gradcam", "own.png", "--method", "gradcm")
    assert "--limit needs --split" in refused("gradcam", "own.png", "--limit", 2)
    assert "--class and --top" in refused("gradcam", "own.png", "--class", "x", "--top", 2)
    assert "alpha" in refused("gradcam", "own.png", "--alpha", 3)
    model = ["--checkpoint", checkpoint]
    line = refused("gradcam", "own.png", *model, "--layer", "stages.4.1.transformer")
    assert "patch × position" in line
    assert "no class 'ring'" in refused("gradcam", picture, *model, "--class", "ring")


def test_an_unreadable_photograph_exits_with_1(run_in: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    done = run_in(trained, "gradcam", tmp_path / "text.jpg", "--out", tmp_path / "h.png", code=1)
    assert "it is not an image" in done.stderr
    assert not (tmp_path / "h.png").exists()


def test_several_photographs_become_pictures_sheets_and_maps(
    run_in: Run, trained: Path, data: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    for number in range(2):
        target = folder / f"{number}.jpg"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((data / "test" / CLASSES[number] / "0.jpg").read_bytes())
    (folder / "broken.jpg").write_text("no picture", encoding="utf-8")
    done = run_in(
        trained,
        *("gradcam", folder, folder / "0.jpg", "--out", f"{out}/", "--top", 2, "--method", "layercam"),
        *("--layer", "stages.3", "--faithfulness", "--npy", "--json", "--smooth"),
        code=1,
    )
    documents = done.json()
    names = [Path(one["image"]).name for one in documents]
    assert names == ["0.jpg", "0.jpg", "1.jpg", "1.jpg", "broken.jpg", "0.jpg", "0.jpg"]
    assert "it is not an image" in documents[4]["error"]
    assert "broken.jpg: it is not an image" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        *("0_gradcam-2.npy", "0_gradcam-2.png", "0_gradcam.npy", "0_gradcam.png"),
        *("1_gradcam.npy", "1_gradcam.png", "sheet.png"),
    ]
    first = documents[0]
    assert (first["method"], first["grid"], first["out"]) == ("layercam", [4, 4], str(out / "0_gradcam.png"))
    areas = first["faithfulness"]
    assert set(areas) == {"deletion", "insertion", "random_deletion", "random_insertion"}
    assert all(0 < value < 1 for value in areas.values())
    maps = np.load(first["npy"])
    assert (maps.shape, maps.dtype) == ((2, 4, 4), np.float32)


def test_a_split_is_measured_and_not_drawn(
    run_in: Run, trained: Path, data: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    model = ["--checkpoint", trained / "checkpoints" / "best_model.pth", "--data", data]
    chosen = ["--split", "test", "--limit", 4, "--class", CLASSES[2], "--class", CLASSES[0]]
    done = run_in(tmp_path, "gradcam", *model, *chosen, "--faithfulness", "--json")
    document = done.json()
    assert (document["split"], document["method"]) == ("test", "gradcam")
    # Evenly spread over nine images of three classes, the first and the last among them.
    assert [Path(one["image"]).relative_to(data / "test").as_posix() for one in document["images"][::2]] == [
        *(f"{CLASSES[0]}/0.jpg", f"{CLASSES[0]}/3.jpg", f"{CLASSES[1]}/1.jpg", f"{CLASSES[2]}/1.jpg"),
    ]
    assert [one["class"] for one in document["images"]] == [CLASSES[2], CLASSES[0]] * 4
    assert [one["true"] for one in document["images"]] == [
        Path(one["image"]).parent.name for one in document["images"]
    ]
    assert {one["predicted"] for one in document["images"]} <= set(CLASSES)
    summary = document["faithfulness"]
    values = [one["faithfulness"]["deletion"] for one in document["images"]]
    assert summary["n"] == 8
    assert summary["deletion"]["mean"] == pytest.approx(np.mean(values))
    low, high = summary["deletion"]["ci95"]
    assert low < summary["deletion"]["mean"] < high
    assert list(tmp_path.iterdir()) == []
    assert "--split needs --out" in refused("gradcam", *model, "--split", "test")
    assert "either images, or a split" in refused("gradcam", *model)


def test_an_empty_map_gives_a_warning(run_in: Run, picture: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "swin.pth"
    swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=2, img_size=64)
    torch.save(swin.state_dict(), checkpoint)
    model = ["--checkpoint", checkpoint, "--arch", "swin_tiny_patch4_window7_224", "--classes", "A,B"]
    done = run_in(
        tmp_path,
        *("gradcam", picture, *model, "--img-size", 64, "--class", "A", "--class", "B"),
        *("--method", "hirescam", "--layer", "layers.3", "--npy", "--out", "empty.png"),
    )
    assert done.stderr.count("in the layer layers.3; the map is empty") == 2
    assert not np.load(tmp_path / "empty.npy").any()
