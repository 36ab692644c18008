import numpy as np
import pytest
import torch
from torch.nn import functional

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
