import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import skinlesion_cli
from skinlesion_cli.data.manifest import ManifestRow, write_manifest
from skinlesion_cli.metrics.predictions import read_predictions
from tests.conftest import Run
from tests.support.processes import run_to_end

HEADER = "image,y_true,y_pred,mole,wart\n"
A = """mole/1.jpg,mole,mole,0.9,0.1
mole/2.jpg,mole,wart,0.4,0.6
wart/1.jpg,wart,wart,0.2,0.8
wart/2.jpg,wart,mole,0.7,0.3
"""
# In another order of images and classes, and better by one image of each class.
B = """image,y_true,y_pred,wart,mole
wart/2.jpg,wart,wart,0.6,0.4
mole/1.jpg,mole,mole,0.2,0.8
wart/1.jpg,wart,wart,0.9,0.1
mole/2.jpg,mole,mole,0.3,0.7
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """a.csv, b.csv, and a manifest that puts the images of a class into one group."""
    (tmp_path / "a.csv").write_text(HEADER + A, encoding="utf-8")
    (tmp_path / "b.csv").write_text(B, encoding="utf-8")
    rows = [
        ManifestRow("test", label, file, f"{label} L", "")
        for label in ("mole", "wart")
        for file in ("1.jpg", "2.jpg")
    ]
    write_manifest(tmp_path, [*rows, ManifestRow("train", "mole", "1.jpg", "other", "")])
    return tmp_path


def test_json_has_the_documented_keys(cli_run: Run, files: Path) -> None:
    document = cli_run("compare", "a.csv", "b.csv", "--json").json()
    assert {"n", "differences", "mcnemar_p"} <= document.keys()
    assert document["n"] == 4
    assert list(document["differences"]) == [
        *("accuracy", "balanced_accuracy", "weighted_f1", "macro_f1", "weighted_auc", "loss")
    ]
    accuracy = document["differences"]["accuracy"]
    assert accuracy | {"ci95": None} == {"a": 0.5, "b": 1.0, "difference": 0.5, "ci95": None}
    assert accuracy["ci95"] == [0.0, 1.0]
    # 0.9 × 0.4 × 0.8 × 0.3 are given to the true classes by A, 0.8 × 0.7 × 0.9 × 0.6 by B: 3.5 times as much.
    assert document["differences"]["loss"]["difference"] == pytest.approx(-math.log(3.5) / 4)
    # Two images, both right in B alone.
    assert document["mcnemar_p"] == 0.5
    assert document["mcnemar"] == {"only_a_right": 0, "only_b_right": 2}
    assert document["per_class"]["mole"]["gained"] == 1
    assert document["ci95_method"] == "paired percentile bootstrap, 2000 resamples of images"
    assert document["resampling_unit"] == "images"
    compared = skinlesion_cli.compare(files / "a.csv", read_predictions(files / "b.csv"))
    assert compared.to_dict() == document
    assert [row["metric"] for row in compared.rows()] == list(document["differences"])
    assert compared.rows()[0] == {
        **{"metric": "accuracy", "a": 0.5, "b": 1.0, "difference": 0.5, "low": 0.0, "high": 1.0}
    }


def test_the_table_says_what_was_resampled(cli_run: Run, files: Path) -> None:  # noqa: ARG001
    done = cli_run("compare", "a.csv", "b.csv", "--manifest", "manifest.csv")
    rows = {line[:20].strip(): line[20:].split() for line in done.stdout.splitlines()}
    # Each class is one group with one of two images gained: every resample has the same difference.
    assert rows["Accuracy"] == ["0.5000", "1.0000", "+0.5000", "[+0.500,", "+0.500]"]
    of_mole = next(line.split() for line in done.stdout.splitlines() if line.startswith("mole"))
    # Of other groups, one alone says next to nothing.
    assert of_mole == ["mole", "0.5000", "1.0000", "+0.5000", "[-0.962,", "+1.000]", "2", "1", "0"]
    assert "p = 0.5 (treats images as independent; the intervals do not)" in done.stdout
    assert "2000 resamples of groups" in done.stdout
    assert "A: a.csv" in done.stdout


def test_wrong_input_is_refused(refused: Callable[..., str], files: Path) -> None:
    assert "absent.csv" in refused("compare", "a.csv", "absent.csv")
    (files / "fewer.csv").write_text(HEADER + A.replace("mole/2", "mole/3"), encoding="utf-8")
    assert refused("compare", "a.csv", "fewer.csv") == (
        "error: a.csv and fewer.csv differ in their images: only a.csv has mole/2.jpg; "
        "only fewer.csv has mole/3.jpg"
    )
    manifest = ("compare", "a.csv", "b.csv", "--manifest", "manifest.csv")
    assert "has no image mole/2.jpg in the split train" in refused(*manifest, "--split", "train")
    assert "needs the columns split,class,file,group" in refused(*manifest[:-1], "a.csv")


def test_nothing_heavy_is_imported(files: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "skinlesion_cli", "compare", "a.csv", "b.csv"]
    done = run_to_end(command, cwd=files)
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "numpy" in imported
    assert not imported & {"torch", "torchvision", "timm", "sklearn", "scipy", "matplotlib", "PIL"}
