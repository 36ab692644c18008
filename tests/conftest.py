"""What the tests share: drawn images, one trained run, and the command as a real subprocess."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinlesion_cli.curation.synthetic import draw_lesion
from tests.support.processes import Finished, run_to_end
from tests.support.warm import Warm

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported, here and in every command that a test runs: each core already has a process.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

CLASSES = ("synthetic blotch", "synthetic crust", "synthetic ring")
TINY = ["--arch", "mobilevitv2_050", "--no-pretrained", "--img-size", "64", "--batch-size", "8"]

Run = Callable[..., Finished]


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPUs, unless the tests that need one are asked for: `pytest -m gpu`."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs a GPU where there is none, or where it is hidden."""
    # Those that take `device` can be rehearsed on the CPU (tests/gpu/conftest.py).
    rehearsed = os.environ.get("GPU_TESTS_ON") == "cpu" and "device" in getattr(item, "fixturenames", ())
    if item.get_closest_marker("gpu") and not rehearsed:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA GPU, and `pytest -m gpu`")


@pytest.fixture(scope="session")
def command_environment(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> dict[str, str]:
    """An environment without this machine's settings, hub, network and GPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKINLESION_")}
    device = {} if pytestconfig.option.markexpr == "gpu" else {"SKINLESION_DEVICE": "cpu"}
    return (
        kept
        | device
        | {"HF_HOME": str(tmp_path_factory.mktemp("hub")), "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}
        | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    )


@pytest.fixture(scope="session")
def warm(command_environment: dict[str, str]) -> Iterator[Warm]:
    """A process that has imported torch, for commands that need not show how they start."""
    process = Warm(command_environment)
    yield process
    process.end()


@pytest.fixture(scope="session")
def run_in(command_environment: dict[str, str], warm: Warm) -> Run:
    """Run `skinlesion ARGS` in a folder and assert its exit code: `run_in(folder, "weights", code=0)`.

    After `seconds` the command and all that it started are killed, and the test fails.
    """

    def run(folder: Path, *args: object, env: dict[str, str] | None = None, **options: Any) -> Finished:
        environment = command_environment | (env or {})
        if warm.takes(environment) and not options.keys() - {"code", "seconds"}:
            done = warm.run([*map(str, args)], env=environment, cwd=folder, **options)
        else:
            command = [sys.executable, "-m", "skinlesion_cli", *map(str, args)]
            done = run_to_end(command, env=environment, cwd=folder, **options)
        assert "Traceback" not in done.stderr
        return done

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


@pytest.fixture(scope="session")
def exported_cam(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint as .onnx with class activation maps. Read only."""
    return export_checkpoint(checkpoint, tmp_path_factory.mktemp("exported") / "cam.onnx", cam=True)


def export_checkpoint(checkpoint: Path, target: Path, **options: bool) -> Path:
    """Export a checkpoint in this process."""
    from skinlesion_cli.exporting.formats import format_of
    from skinlesion_cli.models.checkpoint import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    side = loaded.preprocessing.img_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, side, side), np.uint8)
    path: Path = format_of(target).export(loaded, target, pixels, **options).path
    return path
