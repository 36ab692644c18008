import numpy as np
import pytest
import torch
from torch.nn import functional

from skinlesion_cli.data.mixing import MixedTargets
from skinlesion_cli.training.losses import WeightedCrossEntropy
from skinlesion_cli.training.sampler import Division

CPU = torch.device("cpu")


def test_the_class_weights_are_those_of_the_effective_number() -> None:
    loss = WeightedCrossEntropy([700, 200, 10], 0.999, CPU)
    inverse = 1 / np.array([(1 - 0.999**count) / (1 - 0.999) for count in (700, 200, 10)])
    assert loss.class_weights == pytest.approx(inverse / inverse.mean(), rel=1e-12)
    assert loss.weights.tolist() == pytest.approx(loss.class_weights.tolist(), rel=1e-6)
    assert float(loss.total_weight(torch.tensor([2, 0, 2]))) == pytest.approx(
        2 * loss.class_weights[2] + loss.class_weights[0], rel=1e-6
    )


def test_the_batches_of_all_processes_add_up_to_the_loss_of_the_step() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(11, 3, generator=generator)
    labels = torch.randint(3, (11,), generator=generator)
    loss = WeightedCrossEntropy([12, 7, 1], 1.0, CPU)
    total = 0.0
    for rank in range(2):
        division = Division(2, rank, 2)
        shares = loss.batch_shares(labels.numpy(), division)
        for part, share in zip(division.own_parts(11), shares, strict=True):
            # The gradients of the two processes are averaged.
            total += share * float(loss(logits[part], labels[part])) / 2
    single = functional.cross_entropy(logits, labels, reduction="none")
    weights = torch.tensor(loss.class_weights)[labels]
    assert total == pytest.approx(float((weights * single).sum() / weights.sum()), rel=1e-6)
    assert total == pytest.approx(float(loss(logits, labels)), rel=1e-6)


def test_a_single_batch_is_the_step_itself() -> None:
    loss = WeightedCrossEntropy([2, 3], 0.9, CPU)
    loss.class_weights[:] = np.inf
    assert loss.batch_shares(np.array([0, 1]), Division()) == [1.0]
    assert Division().own_parts(2) == [slice(0, 2)]


def test_the_share_of_a_batch_is_its_share_of_the_weight() -> None:
    loss = WeightedCrossEntropy([12, 7, 4], 1.0, CPU)
    labels = np.array([0, 0, 1, 2, 2, 2])
    (share,) = loss.batch_shares(labels, Division(2, 1))
    weights = loss.class_weights[labels]
    assert share == pytest.approx(2 * weights[3:].sum() / weights.sum(), rel=1e-12)


def soft_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ_i Σ_c w_c t_ic (-log p_ic), of targets (n, classes) that sum to 1: written out."""
    return -(weights * targets * logits.log_softmax(dim=1)).sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_smoothing_adjustment_and_mixing_are_the_formulas(smoothing: float, tau: float) -> None:
    generator = torch.Generator().manual_seed(1)
    counts, beta, alpha = [700, 200, 10], 0.99, 0.5
    logits = torch.randn(6, 3, generator=generator)
    labels, shares = torch.tensor([0, 2, 1, 1, 0, 2]), torch.tensor([0.3, 0.3, 0.9, 0.9, 0.5, 0.5])
    partners = labels.reshape(3, 2).flip(1).reshape(-1)
    loss = WeightedCrossEntropy(
        counts, beta, CPU, alpha=alpha, label_smoothing=smoothing, logit_adjustment=tau
    )
    weights = torch.tensor(loss.class_weights, dtype=torch.float64)
    prior = torch.tensor(counts, dtype=torch.float64) ** alpha * weights
    shifted = logits.double() + tau * (prior / prior.sum()).log()

    def soft(hard: torch.Tensor) -> torch.Tensor:
        return (1 - smoothing) * functional.one_hot(hard, 3).double()

    # Smoothed without weighting the share of a class by the true class's weight, as torch does.
    spread = torch.full((6, 3), smoothing / 3, dtype=torch.float64)
    total = weights[labels].sum()
    expected = soft_loss(shifted, soft(labels) + spread, weights) / total
    assert float(loss(logits, labels)) == pytest.approx(float(expected), rel=1e-6)
    both = shares[:, None] * soft(labels) + (1 - shares[:, None]) * soft(partners) + spread
    expected = soft_loss(shifted, both, weights) / total
    mixed = loss(logits, labels, MixedTargets(partners, shares))
    assert float(mixed) == pytest.approx(float(expected), rel=1e-6)
