import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests import conftest
from tests.conftest import CLASSES, TINY, draw_data_set
from tests.support.killed import SMALL, Run, kill, kill_in_a_write, wait_for_line
from tests.support.runs import assert_same_outcome, trainer

STEPS_BEGIN = "not been checked for leaks"


@pytest.mark.slow
def test_a_run_killed_three_times_ends_like_an_uninterrupted_one(
    data: Path, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    arguments = ["--data", data, *SMALL, "--epochs", 4, "--save-every", 1, "--num-workers", 2]
    run = Run(tmp_path / "killed", arguments, command_environment)
    chance = random.Random(3)
    for caught_in_write in (False, True, False):
        with run.started() as process:
            if caught_in_write:
                kill_in_a_write(run, process)
            else:
                wait_for_line(process, STEPS_BEGIN)
                while not run.saved():
                    assert process.poll() is None
                    time.sleep(0.01)
                time.sleep(chance.uniform(0, 1.0))
                kill(process)
        assert run.loadable()
    run.finish()
    assert run.unfinished() == []
    changes = {"seed": 5, "learning_rate": 0.002, "epoch_size_mult": 1.5, "patience": 0, "device": "cpu"}
    trainer(data, tmp_path / "whole", model_arch="ghostnet_050", epochs=4, **changes)[0].run()
    assert_same_outcome(tmp_path / "whole", tmp_path / "killed")


def end_by(process: "subprocess.Popen[str]", number: int, seconds: float) -> list[str]:
    """Signal the whole group, as a terminal and a batch system do; returns the lines up to its end."""
    os.killpg(process.pid, number)
    text = process.communicate(timeout=seconds)[1]
    assert process.returncode == 128 + number, text
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], text
    return lines


def saved_at(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 if it does not exist."""
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.slow
def test_signals_stop_it_after_the_step_and_say_how_to_continue(
    data: Path, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    arguments = ["--data", data, *SMALL, "--epochs", 2, "--epoch-size-mult", 30, "--num-workers", 2]
    run = Run(tmp_path / "run", [*arguments, "--save-every", 20], command_environment)
    steps = []
    last = run.checkpoints / "last.pth"
    for number in (signal.SIGINT, signal.SIGTERM):
        saved = saved_at(last)
        with run.started() as process:
            wait_for_line(process, STEPS_BEGIN)
            while saved_at(last) == saved:
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(0.2)
            # A step and a write: less than a second where nothing else runs.
            lines = end_by(process, number, seconds=45)
        assert lines[-1] == f"error: stopped; {last} is intact; continue with --resume"
        content = torch.load(last, weights_only=True)
        steps.append((content["epoch"], content["training"]["step"]))
    assert (1, 1) <= steps[0] < steps[1] < (2, 87)
    environment = json.loads((run.folder / "results" / "environment.json").read_text(encoding="utf-8"))
    assert [entry["command"][-3] for entry in environment["resumed"]] == ["--resume"]
    assert environment["data"] == environment["resumed"][0]["data"]
    assert environment["data"]["train"]["images"] == 23


@pytest.mark.slow
def test_a_signal_while_scoring_stops_at_once_and_the_scores_come_later(
    data: Path, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    run = Run(tmp_path / "run", ["--data", data, *SMALL, "--epochs", 1], command_environment)
    with run.started() as process:
        wait_for_line(process, "epoch 1/1")
        end_by(process, signal.SIGTERM, seconds=45)
    assert not (run.folder / "results" / "metrics.json").exists()
    assert "epoch 1/1" not in run.finish()
    assert (run.folder / "results" / "metrics.json").exists()


def test_unreadable_files_are_left_out_and_listed_and_change_the_exit_code(
    cli_run: conftest.Run, tmp_path: Path
) -> None:
    folder = draw_data_set(tmp_path / "data", {"train": (3, 3), "val": (2, 1)}, CLASSES[:2])
    bad = folder / "train" / CLASSES[0] / "1.jpg"
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    done = cli_run("train", *TINY, "--epochs", 1, "--on-bad-image", "skip", code=1)
    results = tmp_path / "results"
    (line,) = (results / "unreadable.txt").read_text(encoding="utf-8").splitlines()
    assert line.startswith(f"cannot read data/train/{CLASSES[0]}/1.jpg: ")
    assert done.stderr.splitlines()[-1] == (
        "warning: 1 files could not be read and were left out: results/unreadable.txt"
    )
    assert json.loads((results / "metrics.json").read_text(encoding="utf-8"))["train"]["n"] == 5
    listed = (results / "files.csv").read_text(encoding="utf-8")
    assert f'train,"{CLASSES[0]}/0.jpg",' in listed
    assert f'train,"{CLASSES[0]}/1.jpg",' not in listed
