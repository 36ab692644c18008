"""External test sets and subgroups, from Python."""

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

import skinlesion_cli
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Event, Note
from skinlesion_cli.data.manifest import ManifestRow, write_manifest
from skinlesion_cli.metrics.predictions import write_predictions
from tests.conftest import CLASSES
from tests.support.simulated import simulated


@pytest.fixture
def known(data: Path, tmp_path: Path) -> Path:
    """The drawn data set with a manifest that has a column `sex`."""
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    rows = [
        ManifestRow(*path.relative_to(folder).parts, f"L{place}", "drawn", {"sex": ("f", "m")[place % 2]})
        for place, path in enumerate(sorted(folder.rglob("*.jpg")))
    ]
    write_manifest(folder, rows)
    return folder


def test_a_model_is_scored_by_a_column_of_the_manifest(checkpoint: Path, known: Path) -> None:
    asked = {"data": known, "malignant": [CLASSES[0]], "by": ["sex"]}
    document = skinlesion_cli.evaluate(checkpoint, **asked).to_dict()
    assert {name: one["withheld"] for name, one in document["subgroups"]["sex"].items()} == {
        "f": f"{document['subgroups']['sex']['f']['n']} groups, fewer than 20",
        "m": f"{document['subgroups']['sex']['m']['n']} groups, fewer than 20",
    }
    assert document["malignant"]["operating_points"][-1]["name"] == "validation"
    plain = skinlesion_cli.evaluate(checkpoint, data=known, malignant=[CLASSES[0]]).to_dict()
    assert (plain["subgroups"], plain["gaps"]) == (None, None)
    assert [one["name"] for one in plain["malignant"]["operating_points"]][-1] == "youden"
    shutil.rmtree(known / "val")
    told: list[Event] = []
    without = skinlesion_cli.evaluate(checkpoint, **asked, on_event=told.append).to_dict()
    assert without["malignant"] == plain["malignant"]
    assert [one for one in told if isinstance(one, Note) and "no val/ folder" in one.text]
    with pytest.raises(InputError, match="--by age: there is no such column"):
        skinlesion_cli.evaluate(checkpoint, data=known, by=["age"])


def test_a_class_map_scores_a_model_and_its_predictions_alike(
    checkpoint: Path, known: Path, tmp_path: Path
) -> None:
    plain = skinlesion_cli.evaluate(checkpoint, data=known, out=tmp_path / "plain").to_dict()
    names = tmp_path / "map.csv"
    names.write_text(f"from,to\n{CLASSES[0]},round\n{CLASSES[2]},round\nfiner blotch,round\nwart,\n", "utf-8")
    # A finer class of the data, and one that the model does not know.
    (known / "test" / CLASSES[0]).rename(known / "test" / "finer blotch")
    (known / "test" / "wart").mkdir()
    shutil.copy(next((known / "test" / CLASSES[1]).iterdir()), known / "test" / "wart" / "w.jpg")
    (known / "manifest.csv").unlink()
    merged = skinlesion_cli.evaluate(checkpoint, data=known, class_map=names).to_dict()
    assert (merged["classes"], merged["n"]) == (["round", CLASSES[1]], 9)
    assert merged["class_map"] == {
        CLASSES[0]: "round",
        CLASSES[2]: "round",
        "finer blotch": "round",
        "wart": "",
    }
    assert f"{names}: 1 images are left out (wart)" in merged["warnings"]
    assert merged["weighted_loss"] is None
    predictions = tmp_path / "plain" / "predictions.csv"
    of_file = skinlesion_cli.evaluate(predictions=predictions, class_map=names).to_dict()
    assert of_file["confusion_matrix"] == merged["confusion_matrix"]
    assert of_file["loss"] == pytest.approx(merged["loss"], abs=1e-6)
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [1 - float(row[CLASSES[1]]) for row in rows if row["y_true"] == CLASSES[0]]
    assert merged["confusion_matrix"][0][0] >= sum(one > 0.5 for one in kept)
    assert sum(map(sum, merged["confusion_matrix"])) == plain["n"]
    with pytest.raises(InputError, match="--class-map and --tta exclude each other"):
        skinlesion_cli.evaluate(checkpoint, data=known, class_map=names, tta=True)


def test_predictions_and_truth_are_joined_by_the_images_name(tmp_path: Path) -> None:
    drawn = simulated(n=60, classes=3)
    images = tuple(f"folder/{row}.jpg" for row in range(60))
    write_predictions(tmp_path / "p.csv", dataclasses.replace(drawn, images=images))
    known = [f"{row},{drawn.classes[label]}\n" for row, label in enumerate(drawn.true)]
    truth = tmp_path / "truth.csv"
    truth.write_text("image_id,label\nother,a\n" + "".join(known[:50]), encoding="utf-8")
    document = skinlesion_cli.evaluate(predictions=tmp_path / "p.csv", truth=truth).to_dict()
    right = drawn.true[:50] == drawn.predicted[:50]
    assert (document["n"], document["accuracy"]) == (50, pytest.approx(np.mean(right)))
    told = "10 of 60 images have no row and are left out, 1 of 51 rows are of no image"
    assert document["warnings"] == [f"{truth}: {told}"]
    truth.write_text("image_id,label\n0,b\n1,b\n2,b\n", encoding="utf-8")
    document = skinlesion_cli.evaluate(predictions=tmp_path / "p.csv", truth=truth).to_dict()
    differing = int((drawn.true[:3] != 1).sum())
    assert f"y_true of {differing} of 3 rows differs from the truth, which is scored" in document["warnings"]


def test_options_that_do_not_go_together_are_refused(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    for name, value in (("manifest", "m.csv"), ("validation", "v.csv"), ("truth", "t.csv")):
        with pytest.raises(InputError, match=f"--{name} needs --predictions"):
            skinlesion_cli.evaluate(checkpoint, data=data, **{name: value})
    with pytest.raises(InputError, match="--metadata needs --by"):
        skinlesion_cli.evaluate(checkpoint, data=data, metadata="m.csv")
    write_predictions(tmp_path / "p.csv", simulated(n=20, classes=3))
    with pytest.raises(InputError, match="--target-accuracy needs --validation"):
        skinlesion_cli.evaluate(predictions=tmp_path / "p.csv", target_accuracy=0.9)
