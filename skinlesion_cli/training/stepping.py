"""One step of training: from the loader's batches to new weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from skinlesion_cli.common.world import World
from skinlesion_cli.data.augment import augment, normalize
from skinlesion_cli.models.device import Runtime
from skinlesion_cli.models.model_info import Preprocessing


@dataclass(frozen=True)
class Stepper:
    """What takes the steps of a run."""

    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    """It does nothing outside fp16."""
    runtime: Runtime
    preprocessing: Preprocessing
    clip_norm: float
    """Of the gradient; 0 for no clipping."""
    world: World

    def step(
        self, forward: nn.Module, batches: Iterator[Any], shares: Sequence[float], weights: torch.Tensor
    ) -> torch.Tensor:
        """One step of the optimiser, by the clipped gradient of the mean loss over the step's batches.

        Args:
            forward: the model, or what wraps it.
            batches: what the loader gives; `len(shares)` are taken.
            shares: of the batches in the step's mean; see `Division.shares`.
            weights: (classes,), of the loss.

        Returns:
            (3,): the loss, the weight of the images, and how many were right.
        """
        device, seen = self.runtime.device, []
        self.optimizer.zero_grad(set_to_none=True)
        for number, share in enumerate(shares, start=1):
            images, labels, parameters = next(batches)
            targets = labels.to(device, non_blocking=True)
            pictures = augment(images.to(device, non_blocking=True), parameters)
            inputs = self.runtime.put(normalize(pictures, self.preprocessing.mean, self.preprocessing.std))
            self.world.set_averaging(forward, number == len(shares))
            with self.runtime.autocast():
                logits = forward(inputs)
            logits = logits.float()
            loss = functional.cross_entropy(logits, targets, weight=weights) * share
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            hits = (logits.detach().argmax(dim=1) == targets).sum()
            seen.append(torch.stack([loss.detach(), weights[targets].sum(), hits]))
        self.update(forward.parameters())
        return self.world.sums_of_step(torch.stack(seen).sum(dim=0))

    def update(self, parameters: Iterator[nn.Parameter]) -> None:
        """Clip the gradients of the parameters, and let the optimiser take its step."""
        if self.clip_norm > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
