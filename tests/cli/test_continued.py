"""Passes over many images that are cut off, continued, and shared out."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import CLASSES, Run
from tests.support.processes import Finished, run_to_end, started

IMAGES = 240
ELSEWHERE = """
import os, runpy, sys
os.chdir(os.environ["RANK"])
runpy.run_module("skinlesion_cli", run_name="__main__", alter_sys=True)
"""
COMMAND = [sys.executable, "-m", "skinlesion_cli"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of many small pictures, one of them damaged outside the split that is scored."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(3)
    for index in range(IMAGES):
        target = folder / "test" / CLASSES[index % len(CLASSES)] / f"{index:03}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8)).save(target)
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8no")
    return folder


def cut_off(folder: Path, journal: Path, batches: int, *args: object) -> None:
    """Kill `skinlesion ARGS` as soon as its journal holds some batches."""
    with started([*COMMAND, *map(str, args)], cwd=folder) as process:
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                if journal.read_bytes().count(b"\n") > batches:
                    process.kill()
                    break
            time.sleep(0.001)
        assert process.wait(20) == -9, "it ended before it was killed"


def test_killed_predictions_are_resumed(
    run_in: Run, exported: Path, photographs: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    shutil.copy(exported, tmp_path / "model.onnx")
    args = ["predict", photographs, "--checkpoint", "model.onnx", "--batch-size", 4, "--tta", "--json"]
    whole = run_in(tmp_path, *args, "--csv", "whole.csv", code=1)
    journal = tmp_path / "out.csv.unfinished"
    for batches in (3, 20):
        cut_off(tmp_path, journal, batches, *args, "--csv", "out.csv", *(["--resume"] if batches > 3 else []))
        assert not (tmp_path / "out.csv").exists()
    # Nothing is lost because a word was forgotten, and nothing is mixed.
    assert "--resume" in refused(*args, "--csv", "out.csv")
    assert "other settings (batch_size)" in refused(*args, "--csv", "out.csv", "--resume", "--batch-size", 8)
    # Its last line may be half written.
    with journal.open("ab") as file:
        file.write(b'{"section": "model 1')
    done = run_in(tmp_path, *args, "--csv", "out.csv", "--resume", code=1)
    finished = int(done.stderr.split(f" of {IMAGES + 1} images were finished before")[0].split()[-1])
    assert 80 <= finished < IMAGES
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert done.stdout == whole.stdout
    assert "damaged.jpg" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "out.csv", "whole.csv"]


def test_the_parts_of_an_array_job_make_one_file(
    run_in: Run, exported: Path, photographs: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    shutil.copy(exported, tmp_path / "model.onnx")
    args = ["predict", photographs / "test", "--checkpoint", "model.onnx", "--batch-size", 16]
    run_in(tmp_path, *args, "--csv", "whole.csv")
    for part in (3, 1):
        done = run_in(tmp_path, *args, "--csv", "out.csv", "--part", f"{part}/3")
        assert "80 of 240 images are finished" in done.stderr
        assert done.stdout == ""
    # A part that was never started is computed by the last command.
    done = run_in(tmp_path, *args, "--csv", "out.csv", "--resume")
    assert "160 of 240 images were finished before" in done.stderr
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "out.csv", "whole.csv"]
    assert "--csv FILE" in refused(*args, "--part", "1/3")
    assert "is not I/N" in refused(*args, "--csv", "out.csv", "--part", "4/3")


def test_a_killed_evaluation_is_resumed(
    run_in: Run, exported: Path, photographs: Path, tmp_path: Path
) -> None:
    shutil.copy(exported, tmp_path / "model.onnx")
    args = ["evaluate", "--data", photographs, "--checkpoint", "model.onnx", "--batch-size", 4]
    run_in(tmp_path, *args, "--out", "whole")
    cut_off(tmp_path, tmp_path / "out/predictions.csv.unfinished", 12, *args, "--out", "out")
    done = run_in(tmp_path, *args, "--out", "out", "--resume")
    assert f" of {IMAGES} images were finished before" in done.stderr
    for path in (tmp_path / "whole").iterdir():
        if path.suffix != ".png":
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    out, whole = ([path.name for path in (tmp_path / name).iterdir()] for name in ("out", "whole"))
    assert sorted(out) == sorted(whole)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(
    run_in: Run, exported: Path, photographs: Path, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    agent = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = command_environment | {"OMP_NUM_THREADS": "1"}

    def together(*args: object) -> Finished:
        return run_to_end([*agent, "-m", "skinlesion_cli", *map(str, args)], env=env, cwd=tmp_path)

    shutil.copy(exported, tmp_path / "model.onnx")
    args = ["predict", photographs / "test", "--checkpoint", "model.onnx", "--batch-size", 7, "--json"]
    whole = run_in(tmp_path, *args, "--csv", "whole.csv")
    cut_off(tmp_path, tmp_path / "out.csv.unfinished", 5, *args, "--csv", "out.csv")
    done = together(*args, "--csv", "out.csv", "--resume")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert done.stdout == whole.stdout
    assert done.stderr.count("not a medical device") == 1
    args = ["evaluate", "--data", photographs, "--checkpoint", "model.onnx", "--batch-size", 7]
    run_in(tmp_path, *args, "--out", "whole")
    together(*args, "--out", "out")
    for name in ("metrics.json", "predictions.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # On two machines, the same command may find different images.
    script = tmp_path / "elsewhere.py"
    script.write_text(ELSEWHERE, encoding="utf-8")
    (tmp_path / "0").symlink_to(photographs / "test" / CLASSES[0])
    (tmp_path / "1").symlink_to(photographs / "test" / CLASSES[1])
    args = ["predict", ".", "--checkpoint", tmp_path / "model.onnx"]
    done = run_to_end([*agent, str(script), *map(str, args)], env=env, cwd=tmp_path, code=1)
    assert "error: processes 0 and 1 differ in images" in done.stderr
    assert done.stderr.count("error: ") == 1
