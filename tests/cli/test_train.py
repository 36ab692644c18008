import csv
import json
import os
import pty
import re
import select
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinlesion_cli.data.class_balance import balance_table
from skinlesion_cli.models.hub import SECONDS
from skinlesion_cli.report import plots
from skinlesion_cli.report.facts import read_run
from skinlesion_cli.report.figures import split_title
from tests.conftest import CLASSES, TINY, Run, draw_data_set
from tests.support.pictures import assert_shows, pixels
from tests.support.processes import started
from tests.support.runs import assert_same_outcome

PICTURES = (
    "class_weights",
    "learning_curves",
    "training_confusion",
    "validation_confusion",
    "test_confusion",
)


def history_of(folder: Path) -> list[dict[str, Any]]:
    with (folder / "results" / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_of_the_contract_is_there(trained: Path) -> None:
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {
        "best_model.pth",
        "last.pth",
        "last.previous.pth",
    }
    expected = {f"{name}.png" for name in PICTURES} | {
        "history.csv",
        "settings.toml",
        "metrics.json",
        "environment.json",
        "files.csv",
    }
    expected |= {f"{split}_predictions.csv" for split in ("train", "val", "test")}
    assert {path.name for path in (trained / "results").iterdir()} == expected


def test_the_pictures_show_what_the_tables_say(trained: Path) -> None:
    facts = read_run(trained)
    table = balance_table(dict(zip(CLASSES, (12, 7, 4), strict=True)), 0.999, 0.5)
    figures = [plots.class_weights(table, beta=0.999, alpha=0.5), plots.learning_curves(facts.history)]
    for split in ("train", "val", "test"):
        counts = np.array(facts.documents[split]["confusion_matrix"])
        title = f"{split_title(split).capitalize()} split"
        figures.append(plots.confusion_matrix(counts, CLASSES, title))
    for name, figure in zip(PICTURES, figures, strict=True):
        path = trained / "results" / f"{name}.png"
        assert min(pixels(path).shape[:2]) > 300
        assert_shows(path, figure)


def test_the_history_has_one_row_per_epoch(trained: Path) -> None:
    rows = history_of(trained)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert list(rows[0]) == [
        "epoch",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "val_weighted_f1",
        "learning_rate",
        "best",
        "val_macro_f1",
        "val_balanced_accuracy",
        "val_weighted_auc",
    ]
    assert float(rows[0]["learning_rate"]) == 0.002


def test_the_metrics_are_those_of_the_best_epoch(trained: Path) -> None:
    metrics = json.loads((trained / "results" / "metrics.json").read_text(encoding="utf-8"))
    best = max(history_of(trained), key=lambda row: float(row["val_weighted_f1"]))
    assert metrics["best_epoch"] == int(best["epoch"])
    assert metrics["val"]["weighted_f1"] == float(best["val_weighted_f1"])
    assert [metrics[split]["n"] for split in ("train", "val", "test")] == [23, 9, 9]
    assert metrics["test"]["classes"] == list(CLASSES)


def test_a_log_has_one_line_per_epoch(trained: Path) -> None:
    lines = (trained / "stderr.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("computing on ")
    assert lines[1] == "starting from random weights"
    assert lines[2].startswith("image cache: memory, ")
    # 12, 7 and 4 images.
    assert lines[3].startswith(
        "warning: effective prior of training: 'synthetic blotch' 52.2% of the images, "
    )
    assert lines[3].endswith("compare with --recipe plain or long-tail")
    assert "has not been checked for leaks; run: skinlesion data check" in lines[4]
    assert [line[:9] for line in lines[5:7]] == ["epoch 1/2", "epoch 2/2"]
    assert re.fullmatch(
        r"temperature \d+\.\d{3}, fitted on validation; "
        r"out-of-distribution warning, expected for \d+\.\d% of images like these",
        lines[7],
    )
    assert len(lines) == 8
    for figure in ("train loss", "val loss", "val accuracy", "val weighted F1", "lr 2.00e-03", "*"):
        assert figure in lines[5]
    stdout = (trained / "stdout.txt").read_text(encoding="utf-8")
    assert "Weighted F1" in stdout
    assert "checkpoints/best_model.pth" in stdout


def test_its_settings_reproduce_it_bit_for_bit(
    trained: Path, run_in: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = tmp_path_factory.mktemp("again")
    run_in(again, "train", "--config", trained / "results" / "settings.toml", "--out", "run")
    assert_same_outcome(trained, again / "run")


def test_an_earlier_run_is_not_overwritten(run_in: Run, trained: Path, data: Path) -> None:
    before = (trained / "checkpoints" / "last.pth").read_bytes()
    done = run_in(trained, "train", "--data", data, *TINY, code=2)
    assert "--resume" in done.stderr
    assert "--overwrite" in done.stderr
    assert (trained / "checkpoints" / "last.pth").read_bytes() == before


def test_wrong_input_is_refused_before_any_work(
    refused: Callable[..., str], data: Path, tmp_path: Path
) -> None:
    only_val = draw_data_set(tmp_path / "only_val", {"train": (1, 1), "val": (1, 1, 1)}, CLASSES)
    assert "only in only_val/val: synthetic ring" in refused("train", "--data", only_val.name, *TINY)
    no_val = draw_data_set(tmp_path / "no_val", {"train": (1, 1)}, CLASSES[:2])
    assert "no_val has no val/ folder" in refused("train", "--data", no_val.name, *TINY)
    empty = draw_data_set(tmp_path / "empty", {"train": (1, 0), "val": (1, 1)}, CLASSES[:2])
    assert "train/synthetic crust contains no images" in refused("train", "--data", empty.name, *TINY)
    assert "there is no folder absent" in refused("train", "--data", "absent")
    assert "--img-size: 0 is out of range" in refused("train", "--data", data, "--img-size", 0)
    (tmp_path / "file").touch()
    assert "cannot write to file/checkpoints" in refused("train", "--data", data, *TINY, "--out", "file")
    assert "no checkpoints/last.pth to resume" in refused("train", "--data", data, *TINY, "--resume")
    unknown = refused("train", "--data", data, "--arch", "mobilevit2_100", "--no-pretrained", "--out", "new")
    assert "did you mean mobilevitv2_100" in unknown
    assert not (tmp_path / "new" / "results" / "settings.toml").exists()


def test_unreadable_images_are_named_before_training(cli_run: Run, tmp_path: Path) -> None:
    folder = draw_data_set(tmp_path / "data", {"train": (2, 2), "val": (1, 1)}, CLASSES[:2])
    (folder / "train" / CLASSES[0] / "text.jpg").write_text("no picture", encoding="utf-8")
    done = cli_run("train", *TINY, code=1)
    assert "text.jpg: it is not an image" in done.stderr
    assert not (tmp_path / "checkpoints" / "last.pth").exists()


def test_without_a_hub_the_error_says_what_to_do(cli_run: Run, data: Path) -> None:
    done = cli_run("train", "--data", data, "--arch", "mobilevitv2_050", "--img-size", 64, code=1)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error"))
    assert "--no-pretrained" in line
    assert "--init-weights FILE" in line


def test_an_unresponsive_hub_is_reported_soon_and_leaves_no_folder(
    cli_run: Run, data: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hub = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        done = cli_run(
            "train", "--data", data, "--out", "a/b", code=1, env={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub}
        )
    assert time.monotonic() - begun < 3 * SECONDS
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot fetch the pretrained weights of mobilevitv2_100 from the hub (")
    assert "--no-pretrained" in line
    assert "--init-weights FILE" in line
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_start_leaves_no_folder(
    refused: Callable[..., str], data: Path, tmp_path: Path
) -> None:
    assert "absent.pth" in refused(
        "train", "--data", data, "--init-weights", "absent.pth", "--out", "new/run"
    )
    refused("train", "--data", data, "--arch", "mobilevit2_100", "--no-pretrained", "--out", "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", ["last.pth", "damaged"])
def test_without_the_best_checkpoint_a_run_is_not_resumed(
    run_in: Run, trained: Path, tmp_path: Path, other: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    best = folder / "checkpoints" / "best_model.pth"
    moved = best.rename(tmp_path / "moved.pth")
    if other == "damaged":
        best.write_bytes(moved.read_bytes()[:-99])
    elif history_of(trained)[-1]["best"] == "True":
        # The last epoch is the best one: without the file.
        assert not best.exists()
    else:
        shutil.copy(folder / "checkpoints" / other, best)
    options = ["train", "--config", "results/settings.toml", "--resume"]
    line = run_in(folder, *options, code=2).stderr.splitlines()[-1]
    assert line.startswith("error: cannot resume without checkpoints/best_model.pth, the model of epoch ")
    assert line.endswith("put it back, or start again with --overwrite")
    if other == "damaged":
        moved.rename(best)
        assert "best epoch" in run_in(folder, *options).stdout


def read_to_end(terminal: int, seconds: float) -> bytes:
    """All that the other end of a terminal gets until it is closed; fails if that takes too long."""
    end = time.monotonic() + seconds
    shown = bytearray()
    with open(terminal, "rb", buffering=0) as file:
        while select.select([file], [], [], max(0.0, end - time.monotonic()))[0]:
            try:
                chunk = file.read(65536)
            except OSError:  # Linux answers so when the other end is closed
                chunk = b""
            if not chunk:
                return bytes(shown)
            shown += chunk
    raise AssertionError(f"it was not closed within {seconds:.0f} s:\n{shown.decode()}")


def test_a_terminal_gets_a_live_bar(data: Path, tmp_path: Path, command_environment: dict[str, str]) -> None:
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "skinlesion_cli", "train", "--data", data, *TINY, "--epochs", "1"]
    options = {"cwd": tmp_path, "env": command_environment | {"TERM": "xterm-256color"}}
    with started(command, **options, stdout=its_end, stderr=its_end) as process:
        os.close(its_end)
        text = read_to_end(terminal, seconds=240).decode()
        assert process.wait(timeout=60) == 0, text
    assert "img/s" in text
    assert "acc " in text
    assert text.count("train loss") == 1
