import json
from pathlib import Path

import numpy as np
import pytest

import skinlesion_cli
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.curation.label_check import read_out_of_fold
from skinlesion_cli.metrics.predictions import Predictions, write_predictions
from skinlesion_cli.report.leaks import write_page
from tests.conftest import CLASSES, Run, draw_data_set

WRONG = f"train/{CLASSES[0]}/2.jpg"


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    return draw_data_set(tmp_path / "data", {"train": (4, 3, 3), "val": (2, 2, 2), "test": (1, 1, 1)})


def predicted(folder: Path, splits: tuple[str, ...] = ("train", "val")) -> Predictions:
    """Every image of the splits is predicted as labelled, with 0.8, and `WRONG` as the third class."""
    paths = (path for split in splits for path in folder.glob(f"{split}/*/*"))
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    labels = np.array([CLASSES.index(name.split("/")[1]) for name in names])
    probabilities = np.full((len(names), 3), 0.1)
    probabilities[np.arange(len(names)), labels] = 0.8
    if WRONG in names:
        probabilities[names.index(WRONG)] = [0.02, 0.08, 0.9]
    return Predictions(tuple(names), CLASSES, probabilities.argmax(axis=1), labels, probabilities)


def of_rows(one: Predictions, rows: slice) -> Predictions:
    assert one.probabilities is not None
    return Predictions(
        one.images[rows], one.classes, one.predicted[rows], one.true[rows], one.probabilities[rows]
    )


def write_study(folder: Path, one: Predictions) -> Path:
    for method in ("plain", "paper"):
        for fold in range(3):
            target = folder / method / f"fold-{fold + 1}" / "results" / "test_predictions.csv"
            target.parent.mkdir(parents=True)
            write_predictions(target, of_rows(one, slice(fold, None, 3)))
    return folder


def test_the_command_ranks_the_labels_of_a_study(run_in: Run, drawn: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", predicted(drawn))
    options = ["data", "check", drawn, "--no-near", "--predictions", study]
    done = run_in(tmp_path, *options, "--report", "page.html", "--num-workers", 0)
    (line,) = (line for line in done.stdout.splitlines() if WRONG in line)
    assert line.split() == [
        WRONG.split(" ")[0],
        "blotch/2.jpg",
        "synthetic",
        "blotch",
        "2.0%",
        "synthetic",
        "ring",
        "90.0%",
    ]
    assert "confident learning doubts 1 of 16 with a prediction (16 of 19 images)" in done.stdout
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 16
    assert page.count("doubted</span>") == 1
    assert page.index(f"<small>{WRONG}") < page.index(f"<small>val/{CLASSES[0]}/0.jpg")


def test_the_label_is_that_of_the_data_set(drawn: Path, tmp_path: Path) -> None:
    one = predicted(drawn)
    write_predictions(tmp_path / "p.csv", one)
    options = {"near": False, "num_workers": 0, "predictions": tmp_path / "p.csv"}
    labels = skinlesion_cli.audit(drawn, **options).to_dict()["labels"]
    assert (labels["images"], labels["with_prediction"], labels["likely_wrong"]) == (19, 16, 1)
    first = {"file": WRONG, "label": CLASSES[0], "probability": 0.02, "suggested": CLASSES[2]}
    assert labels["ranked"][0] == first | {"suggested_probability": 0.9, "likely": True}
    assert len(labels["ranked"]) == 16
    assert skinlesion_cli.audit(drawn, near=False, num_workers=0).to_dict()["labels"] is None
    # A person moves the image to the folder of its class: names now match without their folder.
    (drawn / WRONG).rename(drawn / "train" / CLASSES[2] / "moved.jpg")
    moved = tuple("moved.jpg" if name == WRONG else name for name in one.images)
    write_predictions(
        tmp_path / "p.csv", Predictions(moved, CLASSES, one.predicted, one.true, one.probabilities)
    )
    found = skinlesion_cli.audit(drawn, **options)
    assert found.labels is not None
    assert found.labels.likely == 0
    write_page(found, tmp_path / "page.html")


def test_methods_are_averaged(tmp_path: Path, drawn: Path) -> None:
    study = write_study(tmp_path / "study", predicted(drawn))
    other = predicted(drawn)
    assert other.probabilities is not None
    other.probabilities[:] = [0.2, 0.4, 0.4]
    write_predictions(
        study / "paper" / "fold-1" / "results" / "test_predictions.csv", of_rows(other, slice(0, None, 3))
    )
    found = read_out_of_fold(study)
    assert found.probabilities is not None
    row = found.images.index(other.images[0])
    assert found.probabilities[row] == pytest.approx([0.5, 0.25, 0.25])
    row = found.images.index(other.images[1])
    assert found.probabilities[row] == pytest.approx([0.8, 0.1, 0.1])


def test_what_cannot_be_ranked_is_refused(tmp_path: Path, drawn: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(InputError) as caught:
            skinlesion_cli.audit(drawn, near=False, num_workers=0, predictions=path)
        return str(caught.value)

    assert "contains no out-of-fold predictions: give the folder of a finished" in refusal(drawn)
    table = tmp_path / "p.csv"
    table.write_text("image,y_true,y_pred\na,x,y\n", encoding="utf-8")
    assert "p.csv has no probabilities" in refusal(table)
    table.write_text("image,y_true,x,y\na,x,0.5,0.5\n", encoding="utf-8")
    assert "the predictions match none of the 19 images: they name a" in refusal(table)
    name = json.dumps(f"train/{CLASSES[0]}/0.jpg")
    table.write_text(f"image,y_true,x,y\n{name},x,0.5,0.5\n", encoding="utf-8")
    assert f"the predictions have no class {CLASSES[0]}; they have x, y" in refusal(table)
