"""Files and classes with names that a terminal, a spreadsheet or a reader of JSON could trip over."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.data.class_balance import balance_table
from skinlesion_cli.metrics.predictions import read_predictions
from skinlesion_cli.report import plots
from tests.conftest import CLASSES, Run
from tests.support.pictures import assert_shows, pixels

NAMES = [
    "[bold red]x.jpg",
    "\x1b[31mred.jpg",
    "two\nlines.jpg",
    "=1+1.jpg",
    "-rf.jpg",
    "q\"uo'te.jpg",
    "\r.jpg",
]
BYTES = os.fsdecode(b"caf\xe9\xff.jpg")


@pytest.fixture
def odd(tmp_path: Path, picture: Path) -> Path:
    """A folder of photographs with odd names, and one that is none."""
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in [*NAMES, BYTES]:
        shutil.copy(picture, folder / name)
    (folder / "no\x1b[2Jpicture.jpg").write_text("text", encoding="utf-8")
    return folder


def only_printable(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.usefixtures("odd")
def test_predict_shows_and_writes_every_name(cli_run: Run, exported: Path, tmp_path: Path) -> None:
    done = cli_run("predict", "odd", "--checkpoint", exported, "--top", 1, "--csv", "p.csv", code=1)
    assert only_printable(done.stdout + done.stderr)
    assert "[bold red]x.jpg" in done.stdout
    assert "\\x1b[31mred.jpg" in done.stdout
    assert "caf\\udce9\\udcff.jpg" in done.stdout
    content = (tmp_path / "p.csv").read_bytes()
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        assert not [cell for row in csv.reader(file) for cell in row if cell.startswith(("=", "+", "-", "@"))]
    # The names are those of the files, so that the truth can be filled in by a program.
    path = tmp_path / "truth.csv"
    path.write_bytes(content.replace(b",,", f",{CLASSES[0]},".encode()))
    assert {os.fsencode(name) for name in read_predictions(path).images} == {
        os.fsencode(Path("odd", name)) for name in [*NAMES, BYTES]
    }
    done = cli_run("predict", "odd", "--checkpoint", exported, "--json", code=1)
    assert done.stdout.isascii()
    listed = {one["image"] for one in done.json()}
    assert listed == {f"odd/{name}" for name in [*NAMES, BYTES, "no\x1b[2Jpicture.jpg"]}
    assert only_printable(done.stderr)


def test_relative_names_are_not_formulas(cli_run: Run, picture: Path, exported: Path, tmp_path: Path) -> None:
    shutil.copy(picture, tmp_path / "=1+1.jpg")
    cli_run("predict", "=1+1.jpg", "--checkpoint", exported, "--csv", "p.csv")
    assert (tmp_path / "p.csv").read_text(encoding="utf-8").splitlines()[1].startswith("'=1+1.jpg,")


def test_data_check_of_odd_classes_and_files(cli_run: Run, tmp_path: Path) -> None:
    classes = ["=cmd", "[red]nevus", os.fsdecode(b"k\xff"), "<b>", "\x1b[1m"]
    for split in ("train", "test"):
        for seed, label in enumerate(classes):
            folder = tmp_path / "d" / split / label
            folder.mkdir(parents=True)
            draw_lesion("synthetic ring", seed).save(folder / f"{split}\n.jpg")
    done = cli_run("data", "check", "d", "--no-near", "--json", "--report", "page.html", code=1)
    assert done.json()["splits"]["train"] == dict.fromkeys(classes, 1)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "\x1b" not in page
    done = cli_run("data", "check", "d", "--no-near", code=1)
    assert only_printable(done.stdout + done.stderr)
    assert "[red]nevus" in done.stdout
    done = cli_run("weights", "--data", "d", "--csv", "w.csv", "--plot", "w.png", "--json")
    assert [one["name"] for one in done.json()["classes"]] == sorted(classes)
    lines = (tmp_path / "w.csv").read_text(encoding="utf-8").splitlines()
    assert {line.split(",")[0] for line in lines[1:]} == {"'=cmd", "[red]nevus", "k\\udcff", "<b>", "\x1b[1m"}
    table = balance_table(dict.fromkeys(sorted(classes), 1), 0.999, 0.5)
    assert pixels(tmp_path / "w.png").shape[1] > 500
    assert_shows(tmp_path / "w.png", plots.class_weights(table, beta=0.999, alpha=0.5))


def test_evaluate_of_predictions_with_odd_names(cli_run: Run, tmp_path: Path) -> None:
    rows = [
        "image,y_true,y_pred,'=a,$b$ [red],k\\udcff",
        "\"'\t1\",'=a,'=a,1,0,0",
        "2,$b$ [red],'=a,0.6,0.4,0",
    ]
    name = "[red]x\x1b.csv"
    (tmp_path / name).write_text("\n".join([*rows, "3,k\\udcff,k\\udcff,0,0,1"]), encoding="utf-8")
    done = cli_run("evaluate", "--predictions", name, "--out", "o")
    assert only_printable(done.stdout + done.stderr)
    assert "[red]x\\x1b.csv (n = 3)" in done.stdout
    document = json.loads((tmp_path / "o" / "metrics.json").read_text(encoding="utf-8"))
    assert document["classes"] == ["=a", "$b$ [red]", "k\udcff"]
    assert read_predictions(tmp_path / "o" / "predictions.csv").images == ("\t1", "2", "3")


def test_a_pipe_among_photographs_does_not_hang(
    cli_run: Run, exported: Path, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "a.jpg")
    shutil.copy(picture, tmp_path / "in" / "b.jpg")
    done = cli_run("predict", "in", "--checkpoint", exported, "--json", code=1, seconds=60)
    assert [one.get("error", "") for one in done.json()] == [
        "cannot read in/a.jpg: it is not a regular file",
        "",
    ]
    os.mkfifo(tmp_path / "c.pth")
    assert (
        "it is not a regular file"
        in cli_run("predict", "in", "--checkpoint", "c.pth", code=2, seconds=60).stderr
    )


def test_arguments_that_cannot_be_files_give_one_line(refused: Callable[..., str], picture: Path) -> None:
    long = "x" * 5000
    assert "there is no file xxx" in refused("predict", long)
    assert "refused to load xxx" in refused("predict", picture, "--checkpoint", long)
    assert "File name too long" in refused("weights", "--counts", long)
    assert "File name too long" in refused("weights", "--config", long)
    assert len(refused("predict", long)) < 4100


def test_many_long_classes_are_not_a_file_name(tmp_path: Path) -> None:
    names = ",".join(f"a rather long name of class {n}" for n in range(40))
    chosen = ModelChoice(tmp_path / "c.pth", classes=names)
    assert len(chosen.class_names() or []) == 40
