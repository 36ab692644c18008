"""The loss: cross-entropy weighted by the effective number of samples, over the batches of a step."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from skinlesion_cli.data.class_balance import ens_weights
from skinlesion_cli.metrics.arrays import Floats, Ints
from skinlesion_cli.training.sampler import Division


class WeightedCrossEntropy:
    """Cross-entropy with class weights (Cui et al., CVPR 2019): Σ w l / Σ w over the images of a batch."""

    def __init__(self, counts: Sequence[int], beta: float, device: torch.device):
        self.class_weights: Floats = np.array(ens_weights(counts, beta))
        """(classes,); see `ens_weights`."""
        self.weights = torch.tensor(self.class_weights, dtype=torch.float32, device=device)

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss () of logits (n, classes), float32, and targets (n,)."""
        return functional.cross_entropy(logits, targets, weight=self.weights)

    def total_weight(self, targets: torch.Tensor) -> torch.Tensor:
        """Sum () of the weights of the targets (n,)."""
        return self.weights[targets].sum()

    def batch_shares(self, labels: Ints, division: Division) -> list[float]:
        """The factor of each own batch's mean loss that makes its gradient a part of the step's.

        The step's loss is Σ w l / Σ w over all its images, with these labels (images,), and the gradients of
        the processes are averaged: a batch counts by its share of the step's weight, times the number of
        processes.
        """
        if division.parts == 1:
            return [1.0]
        weights = self.class_weights[labels]
        scale = division.processes / weights.sum()
        return [float(weights[part].sum() * scale) for part in division.own_parts(len(labels))]
