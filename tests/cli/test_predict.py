import csv
import json
import pickle
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from skinlesion_cli.cli.terminal.predictions import AsJson
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD
from skinlesion_cli.inference.prediction import Prediction
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.metrics.predictions import read_predictions
from tests.conftest import CLASSES, Run


def test_files_folders_and_globs_in_one_go(run_in: Run, trained: Path, data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture", encoding="utf-8")
    folder, pattern = data / "val" / CLASSES[0], data / "test" / CLASSES[1] / "*.jpg"
    done = run_in(trained, "predict", folder, broken, pattern, "--json", "--csv", tmp_path / "p.csv", code=1)
    answers = done.json()
    expected = [*sorted(folder.iterdir()), broken, *sorted((data / "test" / CLASSES[1]).iterdir())]
    assert [answer["image"] for answer in answers] == [str(path) for path in expected]
    failed = answers.pop(len(list(folder.iterdir())))
    assert set(failed) == {"image", "error"}
    for answer in answers:
        assert list(answer) == [
            *("image", "class", "confidence", "probabilities", "out_of_distribution", "distance")
        ]
        assert answer["out_of_distribution"] is (answer["distance"] > 1)
        assert list(answer["probabilities"]) == list(CLASSES)
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["confidence"] == answer["probabilities"][answer["class"]]
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "y_true", "y_pred", *CLASSES, "out_of_distribution", "distance"]
    for row, answer in zip(rows, answers, strict=True):
        assert row["out_of_distribution"] == str(answer["out_of_distribution"]).lower()
        assert float(row["distance"]) == pytest.approx(answer["distance"], rel=1e-5)
    # These columns are no classes for those who score the file.
    (tmp_path / "scored.csv").write_text(
        (tmp_path / "p.csv").read_text(encoding="utf-8").replace(",,", f",{CLASSES[0]},"), encoding="utf-8"
    )
    assert read_predictions(tmp_path / "scored.csv").classes == CLASSES
    assert [row["image"] for row in rows] == [answer["image"] for answer in answers]
    assert [row["y_pred"] for row in rows] == [answer["class"] for answer in answers]
    assert "broken.jpg: it is not an image" in done.stderr
    assert done.stderr.count("not a medical device") == 1


def test_a_challenge_gets_its_columns(run_in: Run, checkpoint: Path, data: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["classes"] = ["Melanoma", "Melanocytic nevi", "Monkeypox"]
    torch.save(content, tmp_path / "m.pth")
    wanted = ["--csv", "p.csv", "--format", "isic"]
    done = run_in(tmp_path, "predict", data / "test" / CLASSES[0], "--checkpoint", "m.pth", *wanted, "--json")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    for row, answer in zip(rows, done.json(), strict=True):
        assert row["image"] == Path(answer["image"]).stem
        found = [float(row[code]) for code in ("MEL", "NV", "UNK")]
        assert found == pytest.approx(list(answer["probabilities"].values()), abs=1e-8)
    assert "the model has no class for BCC, AK, BKL, DF, VASC, SCC: 0 in the file" in done.stderr


def test_a_table_shows_the_most_probable_classes(run_in: Run, trained: Path, picture: Path) -> None:
    done = run_in(trained, "predict", picture, "--top", 2)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    shares = [float(line.split("%")[0].split()[-1]) for line in lines[1:]]
    assert shares == sorted(shares, reverse=True)
    assert "█" in lines[1]


def test_control_characters_in_a_name_are_escaped(
    run_in: Run, trained: Path, picture: Path, tmp_path: Path
) -> None:
    name = "new\nline \x1b[31mred [bold]tag.jpg"
    (tmp_path / name).write_bytes(picture.read_bytes())
    done = run_in(trained, "predict", tmp_path / name, "--csv", tmp_path / "p.csv")
    assert "\x1b" not in done.stdout
    assert "[bold]tag.jpg" in done.stdout.replace("\n", "").replace(" ", "").replace("\\n", "")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["image"] == str(tmp_path / name)


def test_a_bare_state_dict_needs_its_names(
    run_in: Run, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content["model"], tmp_path / "bare.pth")
    # A bare state dict knows no temperature either.
    torch.save(content | {"temperature": 1.0, "novelty": None}, tmp_path / "plain.pth")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    options = ["--checkpoint", "bare.pth", "--arch", "mobilevitv2_050", "--img-size", 64]
    # As this package trains; timm's own weights of this backbone were trained otherwise.
    options += ["--normalization", "imagenet", "--interpolation", "bilinear", "--crop-pct", 0.87]
    (named,) = run_in(tmp_path, "predict", picture, *options, "--classes", "classes.txt", "--json").json()
    known = load_predictor(tmp_path / "plain.pth").predict(picture).to_dict()
    assert named == known
    told = run_in(tmp_path, "predict", picture, *options[:6], "--classes", "classes.txt", "--json")
    assert "bare.pth does not say how its images were prepared" in told.stderr
    assert "mean 0, 0, 0, std 1, 1, 1, bicubic, crop 0.889" in told.stderr
    assert told.json() != [known]
    bare = partial(load_predictor, tmp_path / "bare.pth", arch="mobilevitv2_050", img_size=64)
    views = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bilinear", "crop_pct": 0.87}
    assert bare(classes=CLASSES, **views).predict(picture).to_dict() == known
    with pytest.raises(InputError, match="a head for 3 classes, but 2 are named: a, b"):
        bare(classes=["a", "b"])


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("ran"),)


def test_a_malicious_checkpoint_is_refused_and_runs_nothing(
    refused: Callable[..., str], picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.pth").write_bytes(pickle.dumps({"model": Malicious()}, protocol=2))
    assert "refused to load bad.pth" in refused("predict", picture, "--checkpoint", "bad.pth")
    assert not (tmp_path / "ran").exists()


def test_wrong_input_is_refused(refused: Callable[..., str], picture: Path, tmp_path: Path) -> None:
    assert "there is no file absent.jpg" in refused("predict", picture, "absent.jpg")
    assert "there is no file *.png" in refused("predict", "*.png")
    (tmp_path / "empty").mkdir()
    assert "there is no image in empty" in refused("predict", "empty")
    assert "best_model.pth" in refused("predict", picture)
    (tmp_path / "m.mlpackage").mkdir()
    core_ml = ["--checkpoint", "m.mlpackage"]
    assert "m.mlpackage is a Core ML model, a folder that" in refused("predict", picture, *core_ml)
    assert "there is no file n.mlpackage" in refused("predict", picture, "--checkpoint", "n.mlpackage")
    assert "it is a folder" in refused("predict", picture, "--csv", "empty")
    assert "isic needs --csv FILE" in refused("predict", picture, "--format", "isic")


def test_json_is_one_document_for_any_name(run_in: Run, trained: Path, picture: Path, tmp_path: Path) -> None:
    name = tmp_path / 'quote " and \\ back.jpg'
    name.write_bytes(picture.read_bytes())
    assert json.loads(run_in(trained, "predict", name, "--json").stdout)[0]["image"] == str(name)


def test_predictions_are_printed_and_not_kept(exported: Path, picture: Path) -> None:
    # In one process, so that the number of answers that live at once can be counted.
    predictor = load_predictor(exported, batch_size=4, num_workers=0)
    shown = AsJson(min_confidence=0.0)
    alive: list[weakref.ref[object]] = []
    most = 0
    for answer in predictor.predict_many([picture] * 40):
        shown.add(answer)
        alive = [one for one in alive if one() is not None] + [weakref.ref(answer)]
        most = max(most, len(alive))
    assert most <= 2


def test_a_prediction_below_the_minimum_confidence_is_uncertain(
    run_in: Run, exported: Path, picture: Path
) -> None:
    options = ["predict", picture, "--checkpoint", exported]
    (plain,) = run_in(picture.parent, *options, "--json").json()
    assert "uncertain" not in plain
    for least in (plain["confidence"] - 1e-6, plain["confidence"] + 1e-6):
        (answer,) = run_in(picture.parent, *options, "--json", "--min-confidence", least).json()
        assert answer["uncertain"] is (plain["confidence"] < least)
        table = run_in(picture.parent, *options, "--min-confidence", least).stdout
        assert ("(uncertain)" in table) is answer["uncertain"]


def test_a_picture_unlike_the_training_images_is_named(
    run_in: Run, trained: Path, picture: Path, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    done = run_in(trained, "predict", picture, tmp_path / "noise.png", "--json")
    known, strange = done.json()
    assert known["out_of_distribution"] is False
    assert strange["out_of_distribution"] is True
    assert done.stderr.count("is unlike the training images") == 1
    assert "noise.png is unlike the training images" in done.stderr


def test_flips_are_averaged_on_request(run_in: Run, exported: Path, picture: Path) -> None:
    options = ["predict", picture, "--checkpoint", exported, "--json"]
    (plain,), (mean,) = (run_in(picture.parent, *options, *flag).json() for flag in ([], ["--tta"]))
    (expected,) = load_predictor(exported).predict_many([picture], flips=True)
    assert isinstance(expected, Prediction)
    assert mean["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert mean["probabilities"] != pytest.approx(plain["probabilities"], abs=1e-6)


def test_many_images_are_one_table_with_one_header(run_in: Run, exported: Path, picture: Path) -> None:
    done = run_in(picture.parent, "predict", *[picture.name] * 501, "--checkpoint", exported, "--top", 1)
    lines = done.stdout.splitlines()
    assert len(lines) == 502
    assert [line for line in lines if line.startswith("Image")] == lines[:1]
