"""The loss: weighted cross-entropy, over the batches of a step."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.class_balance import effective_prior, ens_weights
from skinlesion_cli.data.mixing import MixedTargets
from skinlesion_cli.metrics.arrays import Floats, Ints
from skinlesion_cli.training.sampler import Division


def losses_of(
    settings: Settings, counts: Sequence[int], device: torch.device
) -> "tuple[WeightedCrossEntropy, WeightedCrossEntropy]":
    """The run's loss, and the unweighted loss of the epochs before `deferred_weighting`."""
    kind = functools.partial(
        WeightedCrossEntropy,
        counts,
        device=device,
        label_smoothing=settings.label_smoothing,
        logit_adjustment=settings.logit_adjustment,
    )
    return kind(beta=settings.loss_beta, alpha=settings.sampler_alpha), kind(beta=0.0, alpha=1.0)


class WeightedCrossEntropy:
    """Cross-entropy with class weights (Cui et al., CVPR 2019): Σ w l / Σ w over the images of a batch.

    With a logit adjustment τ, it is computed from f + τ log π (Menon et al., ICLR 2021, eq. 10), where π is
    the `effective_prior` of training: the logits f then assume the prior π^(1 - τ).
    """

    def __init__(
        self,
        counts: Sequence[int],
        beta: float,
        device: torch.device,
        *,
        alpha: float = 1.0,
        label_smoothing: float = 0.0,
        logit_adjustment: float = 0.0,
    ):
        """For classes of these counts, sampled with `alpha` (see `sampling_probabilities`)."""
        self.class_weights: Floats = np.array(ens_weights(counts, beta))
        """(classes,); see `ens_weights`."""
        self.weights = torch.tensor(self.class_weights, dtype=torch.float32, device=device)
        self._smoothing = label_smoothing
        prior = effective_prior(counts, alpha, beta)
        shift = [logit_adjustment * math.log(share) for share in prior]
        self._shift = torch.tensor(shift, dtype=torch.float32, device=device) if logit_adjustment else None

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, mixed: MixedTargets | None = None
    ) -> torch.Tensor:
        """The mean loss () of logits (n, classes), float32, and targets (n,).

        In a mixed batch, the loss of an image is the mean over its two labels, weighted by their shares.
        """
        logits = logits if self._shift is None else logits + self._shift
        options: dict[str, Any] = {"weight": self.weights, "label_smoothing": self._smoothing}
        if mixed is None:
            return functional.cross_entropy(logits, targets, **options)
        own, other = (
            functional.cross_entropy(logits, labels, reduction="none", **options)
            for labels in (targets, mixed.partners)
        )
        return torch.lerp(other, own, mixed.shares).sum() / self.total_weight(targets)

    def total_weight(self, targets: torch.Tensor) -> torch.Tensor:
        """Sum () of the weights of the targets (n,); the two images of a mixed pair exchange theirs."""
        return self.weights[targets].sum()

    def batch_shares(self, labels: Ints, division: Division) -> list[float]:
        """The factor by which the mean loss of each of this process's batches enters the step.

        The step's loss is Σ w l / Σ w over all its images, with these labels (images,), and the gradients of
        the processes are averaged: a batch counts by its share of the step's weight, times the number of
        processes.
        """
        if division.parts == 1:
            return [1.0]
        weights = self.class_weights[labels]
        scale = division.processes / weights.sum()
        return [float(weights[part].sum() * scale) for part in division.own_parts(len(labels))]
