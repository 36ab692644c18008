import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from skinlesion_cli.common.errors import SkinLesionError, TrainingError, UnreadableImageError
from skinlesion_cli.common.events import EpochDone, Event
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.report.results import write_class_weights
from skinlesion_cli.training.faults import named_faults
from skinlesion_cli.training.run_folder import RunFolder
from skinlesion_cli.training.trainer import Trainer
from tests.conftest import CLASSES, draw_data_set
from tests.support.processes import Finished, run_to_end
from tests.support.runs import trainer, weights_of


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Inside, writing beyond `size` bytes fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def after_epoch_1(run: Trainer, events: list[Event]) -> None:
    """Train until the first epoch is done; the next steps are the test's."""

    class FirstEpochDoneError(Exception):
        pass

    def tell(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochDone):
            raise FirstEpochDoneError

    run.on_event = tell
    with pytest.raises(FirstEpochDoneError):
        run.run()
    run.on_event = events.append


def test_a_full_disk_leaves_the_last_good_checkpoint(data: Path, tmp_path: Path) -> None:
    run, events = trainer(data, tmp_path)
    after_epoch_1(run, events)
    before = run.folder.last.read_bytes()
    with (
        files_of_at_most(1_000_000),
        pytest.raises(SkinLesionError, match=r"cannot write .*: File too large"),
    ):
        run.run()
    assert run.folder.last.read_bytes() == before
    assert {path.name for path in run.folder.last.parent.iterdir()} <= {
        "last.pth",
        "last.previous.pth",
        "best_model.pth",
    }
    weights_of(run.folder.best)


def test_a_folder_that_is_gone_is_named(data: Path, tmp_path: Path) -> None:
    run, events = trainer(data, tmp_path)
    after_epoch_1(run, events)
    run.folder.last.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(SkinLesionError, match=r"cannot write .*\.pth: No such file or directory"):
        run.run()
    assert weights_of(tmp_path / "elsewhere" / "last.pth")


def test_a_full_disk_is_named_where_results_are_written(tmp_path: Path) -> None:
    with files_of_at_most(2000), pytest.raises(SkinLesionError, match=r"cannot write .*png: File too large"):
        write_class_weights(tmp_path, {"a": 1, "b": 2}, Settings())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("worker", "number", "message"),
    [
        (0, signal.SIGKILL, r"reads images died .*continue with --resume"),
        # What the system sends to a process whose shared memory has no page left.
        (1, signal.SIGBUS, r"--num-workers 0, or .*docker run --shm-size.*continue with --resume"),
    ],
    ids=["killed", "out of shared memory"],
)
def test_a_worker_that_dies_is_one_line_that_says_how_to_go_on(
    data: Path, tmp_path: Path, worker: int, number: signal.Signals, message: str
) -> None:
    run, events = trainer(data, tmp_path, num_workers=2)
    after_epoch_1(run, events)
    iterator = run.loader._iterator
    assert iterator is not None
    os.kill(iterator._workers[worker].pid, number)  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match=message) as told, named_faults(run.settings, run.folder):
        run.run()
    assert "\n" not in str(told.value)
    assert "--cache off" not in str(told.value) or number == signal.SIGKILL


def test_where_nothing_was_saved_no_message_says_resume(tmp_path: Path) -> None:
    fault = RuntimeError("DataLoader worker (pid 3) is killed by signal: Bus error.")
    with pytest.raises(TrainingError) as told, named_faults(Settings(), RunFolder(tmp_path)):
        raise fault
    assert "--resume" not in str(told.value)
    assert "then start again" in str(told.value)


def in_little_shared_memory(folder: Path, megabytes: int, *command: object) -> Finished:
    """Run a command of the package where /dev/shm is as small as in a container."""
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs /dev/shm"
    probe = subprocess.run(["unshare", "-m", "sh", "-c", mount], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip("may not mount a small /dev/shm")
    line = shlex.join([sys.executable, "-m", "skinlesion_cli", *map(str, command)])
    return run_to_end(["unshare", "-m", "sh", "-c", f"{mount} && {line}; echo exit $?"], cwd=folder)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux's unshare")
def test_in_little_shared_memory_a_run_ends_well_or_says_what_to_do(data: Path, tmp_path: Path) -> None:
    arguments = ["train", "--data", data, "--arch", "test_resnet", "--no-pretrained", "--img-size", 256]
    arguments += ["--epochs", 1, "--epoch-size-mult", 6, "--batch-size", 16, "--device", "cpu"]
    done = in_little_shared_memory(tmp_path, 8, *arguments)
    assert done.stdout.endswith("exit 0\n")
    assert "instead of" in done.stderr
    assert "docker run --shm-size" in done.stderr
    done = in_little_shared_memory(tmp_path, 8, *arguments, "--num-workers", 2, "--out", "asked")
    assert done.stdout == "exit 1\n"
    line = done.stderr.splitlines()[-1]
    assert line.startswith(
        "error: the processes that read images ran out of shared memory: use --num-workers 0"
    )
    assert "docker run --shm-size" in line
    assert "--resume" not in line


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_vanishes_is_named(tmp_path: Path, workers: int) -> None:
    data = draw_data_set(tmp_path / "data", {"train": (4, 4), "val": (1, 1)}, CLASSES[:2])
    run, events = trainer(data, tmp_path, num_workers=workers, cache="off")
    after_epoch_1(run, events)
    for path in run.train_split.paths:
        path.unlink()
    with pytest.raises(UnreadableImageError) as told, named_faults(run.settings):
        run.run()
    assert str(told.value).startswith(f"cannot read {data}/train/")
    assert str(told.value).endswith(".jpg: no such file")
    assert "\n" not in str(told.value)


def allocate_with_torch() -> None:
    torch.empty(2**50, dtype=torch.uint8)


def allocate_with_numpy() -> None:
    np.empty(2**55, np.uint8)


@pytest.mark.parametrize("allocate", [allocate_with_torch, allocate_with_numpy])
def test_no_memory_names_the_batch_size_and_what_to_try(allocate: "object") -> None:
    with (
        pytest.raises(TrainingError, match=r"batches of 48 images.*--batch-size.*--accumulate.*--precision"),
        named_faults(Settings(batch_size=48)),
    ):
        allocate()  # type: ignore[operator]


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_the_words_of_a_gpu_without_memory_are_known(message: str) -> None:
    with pytest.raises(TrainingError, match=r"^out of memory with batches of"), named_faults(Settings()):
        raise RuntimeError(message)


def test_a_batch_of_one_image_names_the_batch_size(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path, batch_size=1, img_size=32)
    with (
        pytest.raises(TrainingError, match=r"batch of one image: use --batch-size 2"),
        named_faults(run.settings),
    ):
        run.run()


def test_a_fault_that_is_not_known_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match=r"^shape mismatch$"), named_faults(Settings()):
        raise RuntimeError("shape mismatch")
