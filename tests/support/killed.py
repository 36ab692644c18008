"""Runs of `skinlesion train` as real processes that are killed, and what is left of them."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from skinlesion_cli.models.weight_files import fault_of_weights
from tests.support.processes import started

# A backbone with drop-out (0.2): it loses its place where a generator's state is lost.
SMALL = [
    "--arch",
    "ghostnet_050",
    "--no-pretrained",
    "--img-size",
    "64",
    "--batch-size",
    "8",
    "--lr",
    "0.002",
]
SMALL += ["--device", "cpu", "--precision", "fp32", "--patience", "0", "--seed", "5"]


@dataclass(frozen=True)
class Run:
    """One run's folder, its command line, and the environment of its processes."""

    folder: Path
    arguments: Sequence[object]
    environment: Mapping[str, str]

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.folder / "checkpoints"

    def started(self) -> AbstractContextManager["subprocess.Popen[str]"]:
        """Start it in a group of its own, resuming if there is a checkpoint; it ends with the block."""
        self.folder.mkdir(exist_ok=True)
        resume = ["--resume"] if self.saved() else []
        command = [sys.executable, "-m", "skinlesion_cli", "train", *map(str, self.arguments), *resume]
        return started(
            [*command, "--out", str(self.folder)],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def finish(self) -> str:
        """Run it to its end; returns its stderr."""
        with self.started() as process:
            text = process.communicate(timeout=600)[1]
        assert process.returncode == 0, text
        return text

    def saved(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return any((self.checkpoints / name).exists() for name in ("last.pth", "last.previous.pth"))

    def loadable(self) -> list[str]:
        """Names of the checkpoints to resume from that are intact."""
        whole = []
        for name in ("last.pth", "last.previous.pth"):
            path = self.checkpoints / name
            if path.exists():
                assert not fault_of_weights(path)
                torch.load(path, weights_only=True)
                whole.append(name)
        return whole

    def unfinished(self) -> list[Path]:
        """Files that were being written as checkpoints."""
        return list(self.checkpoints.glob(".*.pth"))

    def results(self) -> dict[str, str]:
        """SHA-256 of the weights of both checkpoints, and of the history."""
        hashes = {}
        for name in ("last.pth", "best_model.pth"):
            digest = hashlib.sha256()
            for key, value in torch.load(self.checkpoints / name, weights_only=True)["model"].items():
                digest.update(key.encode() + value.numpy().tobytes())
            hashes[name] = digest.hexdigest()
        history = (self.folder / "results" / "history.csv").read_bytes()
        return hashes | {"history.csv": hashlib.sha256(history).hexdigest()}


def wait_for_line(process: "subprocess.Popen[str]", sign: str, seconds: float = 240.0) -> None:
    """Read stderr up to the line that contains `sign`; kill the process if it does not come in time."""
    assert process.stderr is not None
    seen = []
    late = threading.Timer(seconds, process.kill)
    late.start()
    try:
        for line in process.stderr:
            seen.append(line)
            if sign in line:
                return
    finally:
        late.cancel()
    raise AssertionError(f"it ended, or {seconds:.0f} s passed, without {sign!r}:\n{''.join(seen)}")


def kill(process: "subprocess.Popen[str]") -> None:
    """Send SIGKILL to the process itself, and not to its workers."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)


def kill_in_a_write(run: Run, process: "subprocess.Popen[str]", seconds: float = 120.0) -> bool:
    """Send SIGKILL as soon as a checkpoint is half written; returns whether it was caught in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        if run.unfinished():
            kill(process)
            return bool(run.unfinished())
        time.sleep(0.0005)
    raise AssertionError("it wrote no checkpoint")
