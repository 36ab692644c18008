"""Small training runs in the test's own process."""

import math
import os
import signal
from pathlib import Path

import pytest
import torch

from skinlesion_cli.common.events import EpochRecord, Event
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.signals import Stopped, Stopping
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.screening import Screening, screen
from skinlesion_cli.data.splits import read_splits
from skinlesion_cli.training.resume import read_last
from skinlesion_cli.training.run_folder import RunFolder
from skinlesion_cli.training.trainer import Trainer

WITH_DROPOUT = "ghostnet_050"
Step = tuple[torch.Tensor, dict[str, torch.Tensor]]
"""What a step added to the sums (loss × weight, weight, hits), and its gradient by parameter."""


def tiny(data: Path, **changes: object) -> Settings:
    """Settings of a run of seconds."""
    settings = Settings(
        data_root=data,
        model_arch="mobilevitv2_050",
        img_size=64,
        pretrained=False,
        batch_size=8,
        epochs=3,
        num_workers=0,
        precision="fp32",
        epoch_size_mult=1.0,
        seed=3,
    )
    return settings.model_copy(update=changes)


def screened(data: Path) -> Screening:
    """The training and the validation split."""
    return screen(read_splits(data, ["train", "val"]), img_size=64, skip=False, workers=0)


def trainer(
    data: Path,
    root: Path,
    *,
    resume: bool = False,
    stopping: Stopping | None = None,
    world: World = ALONE,
    kind: type[Trainer] = Trainer,
    **changes: object,
) -> tuple[Trainer, list[Event]]:
    """A trainer of `tiny` settings with `changes`, and the list that its events go to."""
    folder = RunFolder(root)
    if world.leads:
        folder.claim(resume=resume, overwrite=not resume)
    events: list[Event] = []
    made = kind(
        tiny(data, **changes),
        screened(data),
        folder,
        last=read_last(folder) if resume else None,
        stopping=stopping,
        world=world,
        on_event=events.append,
    )
    return made, events


class Signalled(Trainer):
    """Gets SIGTERM, as from a batch system, after some of its steps; or in validation."""

    after = 0
    """Steps, over all epochs; 0 for the first validation."""
    done = 0

    def run(self) -> list[EpochRecord]:
        self.optimizer.register_step_post_hook(lambda *_: self._stepped())
        return super().run()

    def _stepped(self) -> None:
        self.done += 1
        if self.done == self.after:
            os.kill(os.getpid(), signal.SIGTERM)

    def _validate(self) -> dict[str, float]:
        if self.after == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super()._validate()


def stop_after(data: Path, root: Path, after: int, **changes: object) -> None:
    """Stop a run with SIGTERM, as `Signalled` says."""
    with Stopping() as stopping:
        run, _ = trainer(data, root, stopping=stopping, kind=Signalled, **changes)
        run.after = after
        with pytest.raises(Stopped) as stopped:
            run.run()
    assert stopped.value.exit_code == 143


def steps_of(run: Trainer) -> list[Step]:
    """Train one epoch with the weights held still; returns its steps."""
    run.optimizer.param_groups[0]["lr"] = 0.0
    totals, gradients = [], []

    def look(*_: object) -> None:
        totals.append(run.monitor.plain()["sums"])
        named = run.model.named_parameters()
        gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})

    run.optimizer.register_step_pre_hook(look)
    run.run()
    totals.append(run.monitor.plain()["sums"])
    sums = torch.tensor(totals, dtype=torch.float64)[:, :3]
    return list(zip(sums.diff(dim=0), gradients, strict=True))


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """The model in a checkpoint."""
    return torch.load(path, weights_only=True)["model"]


def assert_same_outcome(first: Path, second: Path) -> None:
    """Two runs ended with the same weights and the same history, to the last bit."""
    history = [(run / "results" / "history.csv").read_bytes() for run in (first, second)]
    assert history[0] == history[1]
    for name in ("last.pth", "best_model.pth"):
        one, other = (weights_of(run / "checkpoints" / name) for run in (first, second))
        assert one
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def run_with_overflow(run: Trainer) -> int:
    """Run an epoch whose third input overflows: all stays finite. Returns the number of inputs."""
    calls = []

    def overflow(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        calls.append(1)
        return (inputs[0] * (torch.inf if len(calls) == 3 else 1),)

    run.model.register_forward_pre_hook(overflow)
    (record,) = run.run()
    assert math.isfinite(record.train_loss)
    for model in (run.model, run.scored_model):
        assert all(bool(torch.isfinite(one).all()) for one in model.state_dict().values())
    return len(calls)
