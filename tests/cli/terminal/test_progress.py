import os
import pty
import re
import sys
from pathlib import Path

import pytest

from skinlesion_cli.training.monitor import Pace
from tests.cli.test_train import read_to_end
from tests.conftest import TINY
from tests.support.processes import started


def test_the_time_left_is_that_of_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pace = Pace(10, 3, epoch=2, step=4)
    now[0] += 12.0
    assert pace.seconds_left(2, 10) == pytest.approx(20.0)
    assert pace.seconds_left(3, 10) == 0.0


@pytest.mark.slow
def test_a_terminal_of_80_columns_always_shows_the_current_task(
    data: Path, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    terminal, its_end = pty.openpty()
    arguments = ["train", "--data", data, *TINY, "--epochs", "2", "--num-workers", "0"]
    command = [sys.executable, "-m", "skinlesion_cli", *arguments]
    options = {"cwd": tmp_path, "env": command_environment | {"TERM": "xterm-256color", "COLUMNS": "80"}}
    with started(command, **options, stdout=its_end, stderr=its_end) as process:
        os.close(its_end)
        text = read_to_end(terminal, seconds=240).decode()
        assert process.wait(timeout=60) == 0
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
    shown = [line.split("━")[0].strip() for line in lines]
    for task in (
        "loading PyTorch",
        "loading the first images",
        "epoch 1/2",
        "scoring val",
        "computing scores and intervals of test",
    ):
        assert task in shown, task
    assert any(
        re.search(r"epoch 1/2 .* loss \d\.\d{4}  acc \d\.\d{3} 0:\d\d:\d\d left in run", line)
        for line in lines
    )
    tables = [line for line in lines if "[" in line or "val loss" in line]
    assert tables
    assert max(map(len, tables)) <= 80


def test_a_terminal_says_that_a_model_is_loaded(
    checkpoint: Path, picture: Path, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    terminal, its_end = pty.openpty()
    arguments = ["predict", picture, "--checkpoint", checkpoint, "--csv", "one.csv", "--num-workers", "0"]
    command = [sys.executable, "-m", "skinlesion_cli", *arguments]
    options = {"cwd": tmp_path, "env": command_environment | {"TERM": "xterm-256color"}}
    with started(command, **options, stdout=its_end, stderr=its_end) as process:
        os.close(its_end)
        text = read_to_end(terminal, seconds=120).decode()
        assert process.wait(timeout=60) == 0, text
    assert text.index("loading the model") < text.index("Probability")
    assert "1 prediction: one.csv" in text
