import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import skinlesion_cli
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.manifest import ManifestRow, write_manifest
from skinlesion_cli.metrics.predictions import Predictions, write_predictions
from tests.conftest import CLASSES, Run, draw_data_set
from tests.support import published
from tests.support.simulated import simulated

FILES = {"metrics.json", "predictions.csv", "confusion_matrix.png", "reliability.png"}


def test_a_checkpoint_is_scored_like_its_own_predictions(
    run_in: Run, trained: Path, data: Path, tmp_path: Path
) -> None:
    done = run_in(trained, "evaluate", "--data", data, "--split", "test", "--json", "--out", tmp_path / "a")
    document = done.json()
    assert {path.name for path in (tmp_path / "a").iterdir()} == FILES
    assert json.loads((tmp_path / "a" / "metrics.json").read_text(encoding="utf-8")) == document
    assert set(document) >= {
        "split",
        "n",
        "classes",
        "accuracy",
        "balanced_accuracy",
        "weighted_f1",
        "macro_f1",
        "weighted_auc",
        "loss",
        "per_class",
        "confusion_matrix",
        "ci95",
    }
    assert (document["split"], document["n"], document["classes"]) == ("test", 9, list(CLASSES))
    assert set(document["per_class"][CLASSES[0]]) >= {"precision", "recall", "f1", "support", "auc"}
    assert (document["malignant"], document["blocks"]) == (None, None)
    of_training = json.loads((trained / "results" / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert document["weighted_f1"] == of_training["weighted_f1"]

    with pytest.raises(InputError, match="either a checkpoint and data, or predictions"):
        skinlesion_cli.evaluate(trained / "checkpoints" / "best_model.pth")
    result = skinlesion_cli.evaluate(
        trained / "checkpoints" / "best_model.pth", data=data, out=tmp_path / "b"
    )
    assert result.to_dict()["accuracy"] == document["accuracy"]
    assert result.to_dict()["loss"] == pytest.approx(document["loss"], abs=1e-6)
    assert {path.name for path in (tmp_path / "b").iterdir()} == FILES
    row = result.rows()[0]
    assert (row["class"], row["support"]) == (CLASSES[0], 4)
    assert row["f1"] == document["per_class"][CLASSES[0]]["f1"]

    again = run_in(tmp_path, "evaluate", "--predictions", "a/predictions.csv", "--json").json()
    assert again["split"] is None
    for name in ("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy"):
        assert again[name] == document[name]
    assert again["loss"] == pytest.approx(document["loss"], abs=1e-7)
    assert again["confusion_matrix"] == document["confusion_matrix"]
    with Image.open(tmp_path / "results/evaluation/predictions/confusion_matrix.png") as image:
        assert image.width > image.height


def test_the_published_scores_follow_from_the_published_matrix(cli_run: Run, tmp_path: Path) -> None:
    true, predicted = published.expanded()
    images = tuple(f"{i}.jpg" for i in range(len(true)))
    write_predictions(tmp_path / "p.csv", Predictions(images, published.CLASSES, predicted, true))
    done = cli_run("evaluate", "--predictions", "p.csv", "--out", "scores")
    document = json.loads((tmp_path / "scores" / "metrics.json").read_text(encoding="utf-8"))
    assert {name: round(document[name], 4) for name in published.SUMMARY} == published.SUMMARY
    assert document["loss"] is None
    rows = {line[:30].strip(): line[30:].split() for line in done.stdout.splitlines()}
    for name, expected in published.PER_CLASS.items():
        support = published.CONFUSION[published.CLASSES.index(name)].sum()
        assert rows[name] == [*(f"{value:.4f}" for value in expected), "–", "–", "–", str(support)]
    assert "warning: no probabilities" in done.stderr


def test_a_manifest_gives_groups_and_blocks_and_malignant_classes_can_be_named(
    cli_run: Run, tmp_path: Path
) -> None:
    drawn = simulated(n=90, classes=3)
    images = tuple(f"{drawn.classes[label]}/{row}.jpg" for row, label in enumerate(drawn.true))
    write_predictions(tmp_path / "p.csv", dataclasses.replace(drawn, images=images))
    rows = [
        ManifestRow(
            "val", *image.split("/"), group=f"L{row // 3}", source=("camera one", "camera two")[row % 2]
        )
        for row, image in enumerate(images)
    ]
    write_manifest(tmp_path, rows)
    known = ["--manifest", "manifest.csv", "--split", "val", "--malignant", "A, c"]
    done = cli_run("evaluate", "--predictions", "p.csv", "--out", "scores", *known)
    document = json.loads((tmp_path / "scores" / "metrics.json").read_text(encoding="utf-8"))
    assert document["ci95_method"].endswith("resamples of groups")
    assert document["malignant"]["classes"] == ["a", "c"]
    assert {name: block["n"] for name, block in document["blocks"].items()} == {
        "camera one": 45,
        "camera two": 45,
    }
    lines = done.stdout.splitlines()
    dangerous = sum(label in (0, 2) for label in drawn.true)
    assert f"Malignant: {dangerous} of 90 (a, c)" in lines
    assert f"AUC {document['malignant']['auc']:.4f}  [" in done.stdout
    table = [line.split() for line in lines]
    (youden,) = (row for row in table if row[:3] == ["at", "Youden's", "index"])
    assert youden[3] == f"{document['malignant']['operating_points'][3]['threshold']:.4f}"
    (block,) = (row for row in table if row[:2] == ["camera", "two"])
    assert block[2:4] == ["45", f"{document['blocks']['camera two']['balanced_accuracy']:.4f}"]
    assert max(map(len, lines)) <= 120


def test_scores_by_age_and_sex_with_the_largest_gaps(cli_run: Run, tmp_path: Path) -> None:
    """With a class map, the truth and the people of two tables, and a threshold of validation."""
    drawn, validation = simulated(n=300, classes=3), simulated(n=100, classes=3, seed=1)
    named = dataclasses.replace(drawn, true=np.zeros(300, dtype=np.int64))
    write_predictions(tmp_path / "p.csv", named)
    write_predictions(tmp_path / "v.csv", validation)
    (tmp_path / "map.csv").write_text("from,to\na,MEL\nb,NV\nc,NV\n", encoding="utf-8")
    truth = [f"{row},{drawn.classes[label]}\n" for row, label in enumerate(drawn.true)]
    (tmp_path / "truth.csv").write_text("image,label\n" + "".join(truth), encoding="utf-8")
    people = [f"{row},{20 + row // 5}.0,{'female' if row < 160 else 'male'}\n" for row in range(1, 300)]
    table = "image_id,age,sex\n0,,unknown\n" + "".join(people)
    (tmp_path / "people.csv").write_text(table, encoding="utf-8")
    options = ["--truth", "truth.csv", "--class-map", "map.csv", "--validation", "v.csv"]
    by = ["--by", "sex", "--by", "age", "--metadata", "people.csv"]
    done = cli_run("evaluate", "--predictions", "p.csv", *options, *by, "--out", "o")
    document = json.loads((tmp_path / "o" / "metrics.json").read_text(encoding="utf-8"))
    assert document["classes"] == ["MEL", "NV"]
    assert list(document["subgroups"]) == list(document["gaps"]) == ["sex", "age"]
    ages = {name: one["n"] for name, one in document["subgroups"]["age"].items()}
    assert ages == {"under 30": 49, "30–49": 100, "50–69": 100, "70 and over": 50, "unknown": 1}
    lines = [line.split() for line in done.stdout.splitlines()]
    male = document["subgroups"]["sex"]["male"]
    assert ["male", "140", f"{male['weighted_f1']:.4f}"] in [row[:3] for row in lines]
    gap = document["gaps"]["age"]["sensitivity"]
    (shown,) = (row for row in lines if row[:2] == ["Sensitivity", f"{gap['gap']:.3f}"] and row[-1] != "male")
    assert shown[2] == f"[{gap['ci95'][0]:.3f},"
    assert "unknown: withheld (1 images, fewer than 20)" in done.stdout
    assert "which detected 90% of them on validation" in " ".join(done.stdout.split())
    assert "1 have no value there; they are the subgroup unknown" in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 160


def test_none_of_four_is_reported_with_its_interval_and_n(cli_run: Run, tmp_path: Path) -> None:
    """Terminal and JSON; a format of the figures; a class that no font here can name is no box."""
    true, predicted = ["MEL"] * 4 + ["NV"] * 20 + ["\U00020001"] * 4, ["NV"] * 24 + ["\U00020001"] * 4
    rows = [
        f"{place}.jpg,{one},{other}\n" for place, (one, other) in enumerate(zip(true, predicted, strict=True))
    ]
    (tmp_path / "p.csv").write_text("image,y_true,y_pred\n" + "".join(rows), encoding="utf-8")
    arguments = ("evaluate", "--predictions", "p.csv", "--out", "o")
    done = cli_run(*arguments, "--figures", "pdf")
    (decision,) = [line for line in done.stdout.splitlines() if line.startswith("predicted class")]
    assert "0.0000  [0.000, 0.602] n=4" in decision
    assert "with n: exact (Clopper–Pearson), from n images" in done.stdout
    assert done.stderr.count("no font on this machine can draw") == 1
    assert (tmp_path / "o" / "confusion_matrix.pdf").read_bytes().startswith(b"%PDF")
    assert not list((tmp_path / "o").glob("*.png"))
    document = cli_run(*arguments, "--json").json()
    of_class = document["per_class"]["MEL"]
    assert (of_class["recall"], of_class["support"], of_class["exact_n"]) == (0, 4, {"recall": 4, "f1": 4})
    assert of_class["ci95"]["recall"] == [0, pytest.approx(0.6024, abs=1e-4)]


def test_wrong_input_is_refused(refused: Callable[..., str], data: Path, tmp_path: Path) -> None:
    assert "there is no folder absent" in refused("evaluate", "--data", "absent")
    assert "no other/ folder" in refused("evaluate", "--data", data, "--split", "other")
    assert "there is no file checkpoints/best_model.pth" in refused("evaluate", "--data", data)
    assert "cannot read the predictions" in refused("evaluate", "--predictions", "absent.csv")
    (tmp_path / "bad.csv").write_text("image,y_true,y_pred\n1,,a\n", encoding="utf-8")
    assert "line 2: y_true is an empty cell" in refused("evaluate", "--predictions", "bad.csv")
    assert "--manifest needs --predictions" in refused("evaluate", "--data", data, "--manifest", "m.csv")
    (tmp_path / "good.csv").write_text("image,y_true,y_pred\n1,MEL,NV\n", encoding="utf-8")
    line = refused("evaluate", "--predictions", "good.csv", "--malignant", "Mel,NVV", "--out", "scores")
    assert "--malignant: the model has no class 'NVV'; did you mean NV?" in line
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("empty_folder", [False, True])
def test_a_class_without_images_is_scored_with_dashes(
    cli_run: Run, checkpoint: Path, tmp_path: Path, empty_folder: bool
) -> None:
    two = draw_data_set(tmp_path / "two", {"test": (1, 1)}, CLASSES[:2])
    if empty_folder:
        (two / "test" / CLASSES[2]).mkdir()
    done = cli_run("evaluate", "--data", two.name, "--checkpoint", checkpoint, "--out", "o")
    (row,) = (line for line in done.stdout.splitlines() if line.startswith(CLASSES[2]))
    assert row.split()[-7:] == ["–"] * 6 + ["0"]
    assert [line for line in done.stderr.splitlines() if "no images of" in line] == [
        f"warning: no images of {CLASSES[2]}: their recall, F1, AUC and similar metrics are undefined; means "
        "over the classes are over the other 2"
    ]
    assert {path.name for path in (tmp_path / "o").iterdir()} == FILES


def test_other_classes_than_the_checkpoints_are_refused(
    refused: Callable[..., str], checkpoint: Path, tmp_path: Path
) -> None:
    two = draw_data_set(tmp_path / "two", {"test": (1, 1)}, CLASSES[:2])
    (two / "test" / CLASSES[1]).rename(two / "test" / "unknown")
    line = refused("evaluate", "--data", two.name, "--checkpoint", checkpoint)
    assert "two/test has 2 classes and the checkpoint has 3" in line


def test_folders_in_another_unicode_form_are_the_models_classes(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["classes"] = ["n\u00e9vus", *content["classes"][1:]]
    torch.save(content, tmp_path / "m.pth")
    shutil.copytree(data, tmp_path / "data")
    for split in ("val", "test"):
        (tmp_path / "data" / split / CLASSES[0]).rename(tmp_path / "data" / split / "ne\u0301vus")
    result = skinlesion_cli.evaluate(
        tmp_path / "m.pth", data=tmp_path / "data", split="test", target_accuracy=0.5
    ).to_dict()
    assert result["classes"] == ["n\u00e9vus", *CLASSES[1:]]
    expected = skinlesion_cli.evaluate(checkpoint, data=data, split="test").to_dict()
    assert result["confusion_matrix"] == expected["confusion_matrix"]
