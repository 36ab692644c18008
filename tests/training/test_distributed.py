"""Two real processes on this machine, on gloo."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.training.sampler import WeightedDraws
from tests.conftest import TINY
from tests.support.processes import run_to_end, runs, started, wait_for, workers_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# What tests/support/together.py trains, by the command.
RUN = [*TINY, "--batch-size", "4", "--epochs", "2", "--lr", "0.002", "--beta", "1", "--num-workers", "0"]
RUN += ["--precision", "fp32"]


@pytest.fixture(scope="module")
def environment(command_environment: dict[str, str]) -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), command_environment.get("PYTHONPATH", "")]))
    return command_environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}


@pytest.fixture(scope="module")
def seen(
    data: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What each of two processes found in tests/support/together.py."""
    out = tmp_path_factory.mktemp("together")
    command = [*TORCHRUN, "-m", "tests.support.together", str(data), str(out)]
    run_to_end(command, env=environment, seconds=120)
    return [json.loads((out / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


def test_a_step_of_two_is_the_step_of_one_on_their_batches_together(seen: list[dict[str, Any]]) -> None:
    assert len(seen) == 2
    for one in seen:
        assert len(one["gaps"]["seen"]) == 2
        assert max(one["gaps"]["seen"]) < 1e-6
        assert max(one["gaps"]["gradient"]) < 1e-5


def test_the_weights_of_all_are_the_same_after_each_epoch(seen: list[dict[str, Any]]) -> None:
    first, second = (one["run"]["states"] for one in seen)
    assert len(first) == len(set(first)) == 2
    assert first == second


def test_they_draw_what_one_would_draw(seen: list[dict[str, Any]], data: Path) -> None:
    labels = read_split(data, "train").labels
    alone = WeightedDraws(labels, alpha=0.5, epoch_size_mult=1.5, batch_size=8, seed=42)
    alone.start_epoch(2)
    steps = zip(*(one["run"]["draws"] for one in seen), strict=True)
    joined = [draw for batches in steps for batch in batches for draw in batch]
    assert joined == [list(draw) for batch in alone for draw in batch]


def test_their_scores_are_those_of_one_process_to_the_last_bit(seen: list[dict[str, Any]]) -> None:
    assert len(seen) == 2
    for one in seen:
        last = one["run"]["history"][-1]
        assert [last[name] for name in ("val_loss", "val_accuracy", "val_weighted_f1")] == one["run"]["alone"]
    assert seen[0]["run"]["history"] == seen[1]["run"]["history"]


def test_they_tell_each_other(seen: list[dict[str, Any]]) -> None:
    for one in seen:
        assert one["gathered"] == [{"rank": 0, "text": ""}, {"rank": 1, "text": "é"}]
        assert one["leader"] == "\0leader"
    assert [one["first"] for one in seen] == [[], ["entered-0"]]


def test_they_train_on_the_images_that_the_leader_could_read(seen: list[dict[str, Any]]) -> None:
    assert [one["agreed"] for one in seen] == [True, True]


def test_other_settings_are_refused_and_told_by_one(seen: list[dict[str, Any]]) -> None:
    message = "process 1 has different settings from process 0; start all with the same settings"
    assert [one["refused"] for one in seen] == [["InputError", message, 2], ["PeerError", message, 2]]


@pytest.fixture(scope="module")
def restarted(
    data: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, float]:
    """The folder of a run whose second process was killed once, and the seconds until the other had ended.

    Its data set is a table; that of `seen` are the same images as folders.
    """
    folder = tmp_path_factory.mktemp("restarted")
    # Without the third split, whose scores are not looked at here.
    files = [path.relative_to(data) for split in ("train", "val") for path in read_split(data, split).paths]
    rows = "".join(f"{file.as_posix()},{file.parts[1]},{file.parts[0]}\n" for file in files)
    (folder / "table.csv").write_text(f"file,label,split\n{rows}", encoding="utf-8")
    command = [*TORCHRUN, "--max-restarts", "1", "-m", "skinlesion_cli", "train", *RUN]
    command += ["--data", "table.csv", "--images", str(data)]
    with (folder / "stderr.txt").open("w", encoding="utf-8") as stderr:
        options = {"cwd": folder, "env": environment, "stdout": subprocess.PIPE, "stderr": stderr}
        with started([*command, "--save-every", "1"], **options) as process:
            wait_for((folder / "checkpoints" / "last.pth").exists)
            leader, other = workers_of(process.pid)
            os.kill(other, signal.SIGKILL)
            killed = time.monotonic()
            wait_for(lambda: not runs(leader))
            seconds = time.monotonic() - killed
            stdout, _ = process.communicate(timeout=100)
    (folder / "stdout.txt").write_text(stdout, encoding="utf-8")
    assert process.returncode == 0, (folder / "stderr.txt").read_text(encoding="utf-8")
    return folder, seconds


def test_a_killed_process_ends_the_other_with_a_message(restarted: tuple[Path, float]) -> None:
    folder, seconds = restarted
    assert seconds < 30
    errors = [line for line in lines_of(folder) if line.startswith("error: ")]
    assert len(errors) == 1
    assert "another process of this run has ended or does not respond" in errors[0]


def test_torchruns_restart_goes_on_and_ends_where_no_kill_would_have(
    restarted: tuple[Path, float], seen: list[dict[str, Any]]
) -> None:
    folder, _ = restarted
    assert any(line.startswith("resuming after step ") for line in lines_of(folder))
    rows = (folder / "results" / "history.csv").read_text(encoding="utf-8").splitlines()[1:]
    expected = [",".join(map(str, record.values())) for record in seen[0]["run"]["history"]]
    assert rows == expected


def test_one_process_prints_and_writes(restarted: tuple[Path, float]) -> None:
    folder, _ = restarted
    lines = lines_of(folder)
    assert sum(line.startswith("epoch 2/2") for line in lines) == 1
    step = "2 processes × batch 4 = 8 images per step; learning rate unchanged"
    assert sum(line == step for line in lines) == 2  # at the start and at the restart
    assert (folder / "stdout.txt").read_text(encoding="utf-8").count("Weighted F1") == 1
    metrics = json.loads((folder / "results" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["val"]["n"] == 9


def lines_of(folder: Path) -> list[str]:
    return (folder / "stderr.txt").read_text(encoding="utf-8").splitlines()


def test_a_refusal_ends_all_with_one_line(
    restarted: tuple[Path, float], data: Path, environment: dict[str, str]
) -> None:
    # Without torchrun, whose own report of the failure would stand around the line.
    folder, _ = restarted
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, "-m", "skinlesion_cli", "train", "--data", str(data), *RUN]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                started(
                    command,
                    cwd=folder,
                    env=environment | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                    **pipes,
                )
            )
            for rank in range(2)
        ]
        said = [process.communicate(timeout=60) for process in processes]
        assert [process.returncode for process in processes] == [2, 2]
    assert said[1] == ("", "")
    (line,) = said[0][1].splitlines()
    assert line.startswith("error: checkpoints/last.pth belongs to an earlier run")


def test_all_that_was_started_ends_with_its_block(tmp_path: Path, environment: dict[str, str]) -> None:
    # torchrun gives each of its processes a session of its own, which a signal to its group does not reach.
    script = tmp_path / "sleep.py"
    script.write_text("import os, pathlib, time\npathlib.Path(os.environ['RANK']).touch()\ntime.sleep(600)\n")
    workers: list[int] = []

    def fail() -> None:
        with started([*TORCHRUN, str(script)], cwd=tmp_path, env=environment) as process:
            workers.append(process.pid)
            wait_for(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists())
            workers.extend(workers_of(process.pid))
            assert [runs(one) for one in workers] == [True, True, True]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    wait_for(lambda: not any(map(runs, workers)), seconds=10)


def test_synchronized_batchnorm_needs_cuda_and_keeps_names_and_activations() -> None:
    import torch

    from skinlesion_cli.models.backbone import create_model, with_synchronized_batchnorm

    model = create_model("mobilevitv2_050", 3, 64)
    before, names = list(model.parameters()), list(model.state_dict())
    with pytest.raises(InputError, match="--sync-batchnorm needs CUDA, and this runs on cpu"):
        with_synchronized_batchnorm(model, torch.device("cpu"))
    acts = sum(hasattr(module, "act") for module in model.modules())
    converted = with_synchronized_batchnorm(model, torch.device("cuda"))
    assert list(converted.state_dict()) == names
    assert all(one is other for one, other in zip(converted.parameters(), before, strict=True))
    assert sum(hasattr(module, "act") for module in converted.modules()) == acts > 0
    kinds = {type(module).__name__ for module in converted.modules()}
    assert "SyncBatchNormAct" in kinds
    assert "BatchNormAct2d" not in kinds
