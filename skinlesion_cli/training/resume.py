"""The state of a run: what last.pth contains besides the model, for resuming bit for bit."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from skinlesion_cli.common.errors import InputError, one_line
from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.common.settings import FIELDS, Settings, spec
from skinlesion_cli.data.file_hashes import differences, read_contents, summary_of
from skinlesion_cli.data.screening import Screening
from skinlesion_cli.models.checkpoint import FORMAT, load_checkpoint, plain_settings
from skinlesion_cli.models.state_dicts import plain_state_dict
from skinlesion_cli.models.weight_files import read_tensors
from skinlesion_cli.training.run_folder import RunFolder

LastState = tuple[dict[str, Any], str]
"""The content of the checkpoint to resume from; a warning about the choice of the file, or an empty
string."""


@dataclass
class Progress:
    """How far a run has come: its state besides the tensors."""

    history: list[EpochRecord] = dataclasses.field(default_factory=list)
    best_score: float | None = None
    """Score of the best epoch, as `score` gives it; None before the first epoch."""
    epochs_since_best: int = 0
    step: int = 0
    """Completed steps of the current epoch."""
    sums: dict[str, Any] | None = None
    """Of those steps, as `Monitor.plain` returned them; None before the first."""

    @property
    def epoch(self) -> int:
        """The current epoch, from 1."""
        return len(self.history) + 1

    def is_best(self, score: float) -> bool:
        """Whether an epoch with this score is better than all before it."""
        return self.best_score is None or score > self.best_score

    def close_epoch(self, record: EpochRecord, score: float) -> None:
        """Add a finished epoch to the history."""
        self.history.append(record)
        self.epochs_since_best = 0 if record.best else self.epochs_since_best + 1
        if record.best:
            self.best_score = score
        self.step, self.sums = 0, None

    def describe(self) -> str:
        """`epoch 3`, or `step 12 of epoch 4`."""
        return f"step {self.step} of epoch {self.epoch}" if self.step else f"epoch {len(self.history)}"


@dataclass(frozen=True)
class Learner:
    """What changes with every step."""

    model: nn.Module
    average: nn.Module | None
    """The moving average of the model's weights, if there is one."""
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    scaler: torch.amp.GradScaler
    device: torch.device

    def state(self) -> dict[str, Any]:
        """Everything except the model, and this process's random generators, as tensors and plain data."""
        module = self._device_module
        return {
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            # Only of the run's own device: the run may be resumed with fewer GPUs, or without one.
            "device_rng": {} if module is None else {self.device.type: module.get_rng_state()},
        }

    def restore(self, content: Mapping[str, Any], step_size: int, path: Path) -> tuple[Progress, str]:
        """Restore everything from a checkpoint, which `path` names if it does not fit.

        Returns the progress of the run, and a warning if a step now has another number of images,
        `step_size`; a step that was partly done is then repeated.
        """
        try:
            self.model.load_state_dict(plain_state_dict(content))
            state = content["training"]
            self._restore(state)
            stored = {field.name: state[field.name] for field in dataclasses.fields(Progress)}
            history = [EpochRecord(**record) for record in state["history"]]
            progress, before = Progress(**stored | {"history": history}), state["step_size"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{path} is not a checkpoint to resume from: {one_line(error, 200)}") from None
        if before == step_size:
            return progress, ""
        if progress.sums is not None:
            progress.step = progress.sums["drawn"] // step_size
        return progress, f"a step had {before} images and now has {step_size}"

    def _restore(self, state: Mapping[str, Any]) -> None:
        # Without gradients a step changes nothing, but the scheduler notices it. Otherwise it would warn if
        # all steps of the epoch were done before the run was resumed.
        self.optimizer.zero_grad()
        self.optimizer.step()
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        # The state of a disabled scaler is empty, and an enabled one would refuse it.
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        if self._device_module is not None and self.device.type in state["device_rng"]:
            self._device_module.set_rng_state(state["device_rng"][self.device.type])

    @property
    def _device_module(self) -> ModuleType | None:
        return {"cuda": torch.cuda, "mps": torch.mps}.get(self.device.type)


def read_last(folder: RunFolder) -> LastState:
    """Read the last checkpoint, or the one before if it is damaged or missing; InputError if both are."""
    try:
        return _read_resumable(folder.last), ""
    except InputError as error:
        if not folder.previous.exists():
            raise
        return _read_resumable(folder.previous), f"{error}; continuing from {folder.previous.name} instead"


def _read_resumable(path: Path) -> dict[str, Any]:
    content = read_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT or "training" not in content:
        raise InputError(f"{path} is not a checkpoint to resume from")
    return content


def require_best(folder: RunFolder, history: Sequence[EpochRecord]) -> None:
    """Require the checkpoint of the best epoch: without it, the run would end without scores."""
    best = next((one for one in reversed(history) if one.best), None)
    if best is None:
        return
    fault = "it contains another epoch"
    try:
        found = load_checkpoint(folder.best)
        # A newer one was written just before the run was killed; that epoch is repeated.
        if found.epoch is not None and found.epoch > len(history):
            return
        if (found.epoch, found.metrics.get("val_weighted_f1")) == (best.epoch, best.val_weighted_f1):
            return
    except InputError as error:
        fault = str(error)
    raise InputError(
        f"cannot resume without {folder.best}, the model of epoch {best.epoch} ({fault}): put it back, or "
        "start again with --overwrite"
    )


def require_same_run(
    content: Mapping[str, Any], settings: Settings, screening: Screening, folder: RunFolder
) -> None:
    """Require the settings and images of the checkpoint's run; without facts, only their counts."""
    before, now = content["settings"], plain_settings(settings)
    # A setting that was added after the checkpoint was written had its default.
    was = {name: before.get(name, FIELDS[name].default) for name in now}
    longer = now["epochs"] > was["epochs"]
    kept = [name for name in now if not spec(name).resumable and not (longer and name == "epochs")]
    if changed := [name for name in kept if was[name] != now[name]]:
        changes = ", ".join(f"{name} was {was[name]} and is {now[name]}" for name in changed)
        raise InputError(
            f"cannot resume: the checkpoint belongs to another run: {changes}; give the same settings, or "
            "--overwrite"
        )
    contents, stored = screening.contents, content["training"].get("data")
    other = stored and contents and stored != summary_of(contents)
    if other or content["class_counts"] != screening.splits["train"].counts:
        # The run's own list of its files says what has changed; it may be missing.
        changes = differences(read_contents(folder.contents), contents) or "other images"
        raise InputError(
            f"cannot resume: {settings.data_root} has changed since the run began ({changes}); restore it, "
            "or start again with --overwrite"
        )
