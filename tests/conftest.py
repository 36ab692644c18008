"""What the tests share: drawn images, one trained run, and the command as a real subprocess."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinlesion_cli.curation.synthetic import draw_lesion

if "PYTEST_XDIST_WORKER" in os.environ:
    # Set before torch is imported, here and in every command that a test runs: a process a core is at work.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

CLASSES = ("synthetic blotch", "synthetic crust", "synthetic ring")
TINY = ["--arch", "mobilevitv2_050", "--no-pretrained", "--img-size", "64", "--batch-size", "8"]


@dataclass(frozen=True)
class Finished:
    """A finished `skinlesion` process."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)


Run = Callable[..., Finished]


@pytest.fixture(scope="session")
def command_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment without this machine's settings, hub and network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKINLESION_")}
    return (
        kept
        | {"HF_HOME": str(tmp_path_factory.mktemp("hub")), "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}
        | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    )


@pytest.fixture(scope="session")
def run_in(command_environment: dict[str, str]) -> Run:
    """Run `skinlesion ARGS` in a folder and assert its exit code: `run_in(folder, "weights", code=0)`."""

    def run(folder: Path, *args: object, code: int = 0, env: dict[str, str] | None = None) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "skinlesion_cli", *map(str, args)],
            cwd=folder,
            env=command_environment | (env or {}),
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def cli_run(run_in: Run, tmp_path: Path) -> Run:
    """Run `skinlesion ARGS` in the test's own folder and assert its exit code."""

    def run(*args: object, **options: Any) -> Finished:
        return run_in(tmp_path, *args, **options)

    return run


@pytest.fixture
def refused(cli_run: Run) -> Callable[..., str]:
    """Run `skinlesion ARGS`, assert that it is refused with exit 2 and one line, and return the line."""

    def run(*args: object, **options: Any) -> str:
        done = cli_run(*args, code=2, **options)
        lines = done.stderr.splitlines()
        assert done.stdout == ""
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: ")
        return lines[0]

    return run


def draw_data_set(
    folder: Path, counts: dict[str, tuple[int, ...]], classes: tuple[str, ...] = CLASSES
) -> Path:
    """Draw `folder/SPLIT/CLASS/N.jpg`; `counts` gives the images of each class for each split."""
    seed = 0
    for split, numbers in counts.items():
        for name, number in zip(classes, numbers, strict=False):
            target = folder / split / name
            target.mkdir(parents=True)
            for index in range(number):
                seed += 1
                draw_lesion(name, seed).save(target / f"{index}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set of three unequal classes. Read only."""
    folder = tmp_path_factory.mktemp("drawn") / "data"
    return draw_data_set(folder, {"train": (12, 7, 4), "val": (4, 3, 2), "test": (4, 3, 2)})


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path, run_in: Run) -> Path:
    """The folder of a finished run of `skinlesion train`. Read only."""
    folder = tmp_path_factory.mktemp("trained")
    done = run_in(folder, "train", "--data", data, *TINY, "--epochs", 2, "--lr", 0.002, "--seed", 7)
    (folder / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    (folder / "stderr.txt").write_text(done.stderr, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def checkpoint(trained: Path) -> Path:
    """The best checkpoint of the trained run. Read only."""
    return trained / "checkpoints" / "best_model.pth"


@pytest.fixture(scope="session")
def picture(data: Path) -> Path:
    """One drawn photograph. Read only."""
    return data / "test" / CLASSES[0] / "0.jpg"


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint as .onnx. Read only."""
    return export_checkpoint(checkpoint, tmp_path_factory.mktemp("exported") / "model.onnx")


@pytest.fixture(scope="session")
def exported_pt2(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint as .pt2. Read only."""
    return export_checkpoint(checkpoint, tmp_path_factory.mktemp("exported") / "model.pt2")


def export_checkpoint(checkpoint: Path, target: Path) -> Path:
    """Export a checkpoint in this process."""
    from skinlesion_cli.exporting.onnx import export
    from skinlesion_cli.models.checkpoint import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    side = loaded.preprocessing.img_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, side, side), np.uint8)
    return export(loaded, target, pixels).path
