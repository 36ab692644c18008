"""Monitoring during training: the epoch's loss and accuracy, and whether loss and weights are finite."""

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skinlesion_cli.common.errors import SkinLesionError, TrainingError, first_few
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.training.sampler import WeightedDraws

SKIPPED_IN_A_ROW = 20
"""Consecutive steps that may overflow in half precision; more than that have another cause."""
LEAST_SCALE = 2.0 ** (16 - SKIPPED_IN_A_ROW)
"""What this many overflows in a row leave of the initial loss scale, even if only the gradients overflow."""
FILES_NAMED = 64


class Monitor:
    """Adds up an epoch's steps, and stops training before a broken model replaces a good checkpoint.

    The sums stay on the device: reading one waits for all the work before it.
    """

    def __init__(
        self,
        draws: WeightedDraws,
        files: Sequence[Path],
        device: torch.device,
        *,
        scaler: torch.amp.GradScaler | None = None,
        models: Sequence[nn.Module] = (),
        world: World = ALONE,
    ):
        """With an enabled `scaler`, a step whose loss is not finite is skipped, also in the mean.

        Its effect on the running statistics of the `models` (the trained one and its average) is undone.
        """
        self._draws, self._files, self._world, self._device = draws, files, world, device
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._models = models if self._scaler else ()
        self._statistics: list[torch.Tensor] = []
        self.start()

    def start(self, step: int = 0, stored: dict[str, Any] | None = None) -> None:
        """Start an epoch after a number of steps, whose sums are `stored` as `plain` returned them."""
        stored = stored or {"sums": [0.0] * 4, "drawn": 0}
        # MPS has no 64-bit floats.
        dtype = torch.float32 if self._device.type == "mps" else torch.float64
        self._sums = torch.tensor(stored["sums"], dtype=dtype, device=self._device)
        """(4,): loss × weight, weight, correct predictions, and the steps skipped in a row."""
        self.drawn: int = stored["drawn"]
        self._sound_step = step
        self._settle()
        self._drawn_before, self._begun = self.drawn, time.monotonic()

    def add(self, seen: torch.Tensor, drawn: int) -> None:
        """Add a step of `drawn` images: (3,), its mean loss, total weight and correct predictions."""
        loss, weight, hits = seen.unbind()
        total, skipped = loss * weight, self._sums[3]
        if self._scaler:
            finite = torch.isfinite(total)
            total, weight = torch.where(finite, total, 0), torch.where(finite, weight, 0)
            skipped = torch.where(finite, 0, skipped + 1)
        sums = self._sums[:3] + torch.stack([total, weight, hits])
        self._sums = torch.cat([sums, skipped[None]])
        self.drawn += drawn

    @property
    def loss(self) -> float:
        """Mean weighted loss of the steps."""
        return float(self._sums[0] / self._sums[1])

    @property
    def accuracy(self) -> float:
        """Share of the drawn images that were predicted correctly during training."""
        return float(self._sums[2] / self.drawn)

    @property
    def figures(self) -> tuple[float, float, float]:
        """Loss, accuracy, and images per second."""
        speed = (self.drawn - self._drawn_before) / (time.monotonic() - self._begun)
        return self.loss, self.accuracy, speed

    def plain(self) -> dict[str, Any]:
        """The sums as plain data, exactly."""
        return {"sums": self._sums.tolist(), "drawn": self.drawn}

    def _settle(self) -> None:
        """Undo the effect of a skipped step on the running statistics, which the scaler does not protect.

        The statistics at the last check are restored.
        """
        buffers = [one for model in self._models for one in model.buffers() if one.is_floating_point()]
        if not self._statistics or all_finite(buffers):
            self._statistics = [one.clone() for one in buffers]
        else:
            for buffer, kept in zip(buffers, self._statistics, strict=True):
                buffer.copy_(kept)

    def require_finite_loss(self, step: int) -> None:
        """Raise a TrainingError if it is not finite; with a loss scaler, if too many steps overflowed."""
        sound = float(self._sums[3]) < SKIPPED_IN_A_ROW if self._scaler else math.isfinite(self.loss)
        if not sound:
            raise self._fault(f"the loss became {self.loss}", step)
        if self._scaler and self._scaler.get_scale() < LEAST_SCALE:
            raise self._fault("the gradients became infinite or undefined", step)
        self._sound_step = step
        self._settle()

    def require_finite_weights(self, model: nn.Module, step: int) -> None:
        """Raise a TrainingError if a weight is not finite. This waits for the device."""
        self._settle()
        if not all_finite(model.state_dict().values()):
            raise self._fault("weights became infinite or undefined", step)

    def _fault(self, what: str, step: int) -> SkinLesionError:
        # A finite loss means that the weights were finite before its step.
        images = self._draws.images_of_steps(max(0, min(self._sound_step, step - 1)), step)
        files = list(dict.fromkeys(str(self._files[index]) for index in images))
        message = (
            f"{what} in epoch {self._draws.epoch} by step {step}, which used "
            f"{first_few(files, FILES_NAMED)}; this state is not saved: "
            "lower --learning-rate, or use --precision fp32"
        )
        # All processes have the same loss and weights.
        return self._world.common(TrainingError(message))


def all_finite(values: Iterable[torch.Tensor]) -> bool:
    """Whether all numbers in tensors of one device are finite. This waits for the device once."""
    looks = [torch.isfinite(one).all() for one in values]
    return not looks or bool(torch.stack(looks).all())


class Pace:
    """Remaining time of a run, from the mean time of its steps so far, including validation and saving."""

    def __init__(self, steps: int, epochs: int, epoch: int = 1, step: int = 0):
        """For a run with this many steps per epoch, which begins or continues after the given step."""
        self._steps, self._all = steps, steps * epochs
        self._before, self._begun = self._done(epoch, step), time.monotonic()

    def _done(self, epoch: int, step: int) -> int:
        return self._steps * (epoch - 1) + step

    def seconds_left(self, epoch: int, step: int) -> float:
        """Seconds for the steps that are left after this one."""
        done = self._done(epoch, step)
        return (time.monotonic() - self._begun) / (done - self._before) * (self._all - done)
