"""What an epoch adds up while it trains."""

import math
from typing import Any

import torch

SKIPPED_IN_A_ROW = 20
"""Steps that may overflow in half precision, one after the other; a longer row has another reason."""


class EpochSums:
    """Loss, weight and hits of an epoch's steps so far.

    They stay on the device: reading one waits for all the work before it.
    """

    def __init__(self, device: torch.device, *, scaled: bool = False, stored: dict[str, Any] | None = None):
        """Start from nothing, or from what `plain` gave.

        Args:
            device: where the steps compute.
            scaled: a loss scaler is at work. It skips the step of a loss that is not finite, so such a step
                has taught nothing and is left out of the mean.
            stored: sums of the epoch's steps before a resumption.
        """
        # MPS has no 64-bit floats.
        precise = torch.float32 if device.type == "mps" else torch.float64
        values = [0.0, 0.0, 0.0, 0.0] if stored is None else stored["sums"]
        self._loss, self._weight, self._hits, self._skipped = torch.tensor(
            values, dtype=precise, device=device
        )
        self.drawn: int = 0 if stored is None else stored["drawn"]
        """Images of all steps."""
        self._scaled = scaled

    def add(self, loss: torch.Tensor, weight: torch.Tensor, hits: torch.Tensor, drawn: int) -> None:
        """Add a step: its mean loss, the weight of its images, how many were right, how many there were."""
        total = loss.detach() * weight
        if self._scaled:
            finite = torch.isfinite(total)
            total, weight = torch.where(finite, total, 0), torch.where(finite, weight, 0)
            self._skipped = torch.where(finite, 0, self._skipped + 1)
        self._loss = self._loss + total
        self._weight = self._weight + weight
        self._hits = self._hits + hits
        self.drawn += drawn

    @property
    def loss(self) -> float:
        """Mean weighted loss of the steps."""
        return float(self._loss / self._weight)

    @property
    def accuracy(self) -> float:
        """Share of the drawn images that were right while the model learned."""
        return float(self._hits / self.drawn)

    @property
    def sound(self) -> bool:
        """Whether training can go on: the loss is finite, or its overflows are few enough to be skipped."""
        return float(self._skipped) < SKIPPED_IN_A_ROW if self._scaled else math.isfinite(self.loss)

    def plain(self) -> dict[str, Any]:
        """The sums to their last bit, as plain data."""
        sums = [float(value) for value in (self._loss, self._weight, self._hits, self._skipped)]
        return {"sums": sums, "drawn": self.drawn}
