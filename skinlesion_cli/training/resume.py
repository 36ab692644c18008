"""The state of a run: what last.pth holds beside the model, so that a run goes on to the bit."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.common.settings import FIELDS, Settings, spec
from skinlesion_cli.data.file_hashes import Contents, differences, read_contents, summary_of
from skinlesion_cli.models.checkpoint import FORMAT, plain_settings
from skinlesion_cli.models.weight_files import read_tensors
from skinlesion_cli.training.run_folder import RunFolder

LastState = tuple[dict[str, Any], str]
"""What `read_last` gives."""


@dataclass
class Progress:
    """How far a run has come: what resuming needs beside the tensors."""

    history: list[EpochRecord] = dataclasses.field(default_factory=list)
    best_f1: float = -1.0
    epochs_since_best: int = 0
    step: int = 0
    """Steps done of the epoch that is under way."""
    sums: dict[str, Any] | None = None
    """Of those steps: what `EpochSums.plain` gave; None before the first."""

    @property
    def is_new(self) -> bool:
        """Whether nothing was done yet."""
        return not self.history and self.step == 0

    @property
    def epoch(self) -> int:
        """The epoch that is under way, from 1."""
        return len(self.history) + 1

    def close_epoch(self, record: EpochRecord) -> None:
        """Take a finished epoch into the history."""
        self.history.append(record)
        self.epochs_since_best = 0 if record.best else self.epochs_since_best + 1
        if record.best:
            self.best_f1 = record.val_weighted_f1
        self.step, self.sums = 0, None

    def move_to_steps_of(self, images: int) -> None:
        """Go on in steps of another size; a step that would be done in part is done again."""
        if self.sums is not None:
            self.step = self.sums["drawn"] // images

    def describe(self) -> str:
        """For people: `epoch 3`, or `step 12 of epoch 4`."""
        return f"step {self.step} of epoch {self.epoch}" if self.step else f"epoch {len(self.history)}"

    def plain(self) -> dict[str, Any]:
        """The same as plain data."""
        history = [dataclasses.asdict(record) for record in self.history]
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in names} | {"history": history}


@dataclass(frozen=True)
class Learner:
    """What changes with every step beside the model."""

    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    scaler: torch.amp.GradScaler
    device: torch.device

    def state(self) -> dict[str, Any]:
        """All of it, and the random generators of this process, as tensors and plain data."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Bring back what `state` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        # The steps before count: without this the scheduler warns where an epoch's last one was among them.
        self.optimizer._opt_called = True  # type: ignore[attr-defined]
        # A scaler that is at work has no use for the empty state of one that was not.
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] and self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda_rng"])


def progress_of(state: Mapping[str, Any]) -> Progress:
    """What `Progress.plain` gave, brought back."""
    names = [field.name for field in dataclasses.fields(Progress)]
    stored = {name: state[name] for name in names if name in state}
    return Progress(**stored | {"history": [EpochRecord(**record) for record in state["history"]]})


def read_last(folder: RunFolder) -> LastState:
    """The checkpoint to resume from: the last one, or the one before where the last is damaged or missing.

    Returns:
        Its content, and what a person should know of the choice, or an empty text.

    Raises:
        InputError: neither can be read.
    """
    try:
        return _read_resumable(folder.last), ""
    except InputError as error:
        if not folder.previous.exists():
            raise
        return _read_resumable(folder.previous), f"{error}; going on from {folder.previous.name} instead"


def belongs_to(folder: RunFolder, run_id: str | None) -> bool:
    """Whether the folder's last checkpoint is of the run to which torchrun gave this name."""
    if run_id is None or not (folder.last.exists() or folder.previous.exists()):
        return False
    content, _ = read_last(folder)
    return bool(content["training"].get("run_id") == run_id)


def _read_resumable(path: Path) -> dict[str, Any]:
    content = read_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT or "training" not in content:
        raise InputError(f"{path} is no checkpoint to resume from")
    return content


def require_same_run(
    content: Mapping[str, Any],
    settings: Settings,
    counts: dict[str, int],
    contents: Contents,
    listed: Path,
) -> None:
    """Hold a checkpoint to resume from against what is asked for now.

    Args:
        content: of the checkpoint.
        settings: of the run as it would go on.
        counts: training images of each class.
        contents: the files of the splits; empty where they are not to be compared.
        listed: where the run wrote its own, as `write_contents` does; it need not be there.

    Raises:
        InputError: it would be another run; each difference is named.
    """
    before, now = content["settings"], plain_settings(settings)
    # A setting that is younger than the checkpoint had its default then.
    was = {name: before.get(name, FIELDS[name].default) for name in now}
    changed = [name for name in now if not spec(name).resumable and was[name] != now[name]]
    if changed:
        changes = ", ".join(f"{name} was {was[name]} and is {now[name]}" for name in changed)
        raise InputError(
            f"cannot resume: the checkpoint belongs to another run: {changes}; give the same settings, or "
            "--overwrite"
        )
    stored, summary = content["training"].get("data"), summary_of(contents)
    if content["class_counts"] != counts or (stored and summary and stored != summary):
        told = differences(read_contents(listed), contents) or "other images"
        raise InputError(
            f"cannot resume: {settings.data_root} is not what it was when the run began ({told}); put it "
            "back, or start anew with --overwrite"
        )
