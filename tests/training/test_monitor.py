from pathlib import Path

import pytest
import torch

from skinlesion_cli.common.errors import TrainingError
from skinlesion_cli.training.monitor import SKIPPED_IN_A_ROW, Monitor
from skinlesion_cli.training.sampler import WeightedDraws


def monitor(*, scaled: bool = False) -> Monitor:
    draws = WeightedDraws([0, 1], alpha=0.5, epoch_size_mult=100, batch_size=4, seed=1)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)
    return Monitor(draws, [Path("a.jpg"), Path("b.jpg")], torch.device("cpu"), scaler=scaler)


def add(sums: Monitor, loss: float, weight: float = 2.0, hits: int = 1, drawn: int = 4) -> None:
    sums.add(torch.tensor([loss, weight, hits]), drawn)


def test_the_loss_is_weighted_and_the_accuracy_is_not() -> None:
    sums = monitor()
    add(sums, 1.0, weight=1.0, hits=4)
    add(sums, 4.0, weight=3.0, hits=1)
    assert sums.loss == 13 / 4
    assert sums.accuracy == 5 / 8


def test_they_come_back_to_the_bit() -> None:
    sums = monitor()
    for loss in (0.1, 0.7, 1e-9):
        add(sums, loss, weight=0.3)
    again = monitor()
    again.start(3, sums.plain())
    assert again.plain() == sums.plain()
    add(sums, 0.9)
    add(again, 0.9)
    assert (again.loss, again.accuracy) == (sums.loss, sums.accuracy)


def test_without_a_scaler_one_loss_that_is_not_finite_is_unsound() -> None:
    sums = monitor()
    add(sums, 1.0)
    sums.require_finite_loss(1)
    add(sums, float("inf"))
    with pytest.raises(TrainingError, match=r"the loss became inf in epoch 0 by step 2, which used "):
        sums.require_finite_loss(2)


def test_with_a_scaler_a_few_are_left_out_and_many_in_a_row_are_unsound() -> None:
    sums = monitor(scaled=True)
    add(sums, 3.0)
    for _ in range(SKIPPED_IN_A_ROW - 1):
        add(sums, float("nan"))
    sums.require_finite_loss(1)
    assert sums.loss == 3.0
    add(sums, 3.0)
    for step in range(SKIPPED_IN_A_ROW):
        sums.require_finite_loss(step)
        add(sums, float("inf"))
    with pytest.raises(TrainingError, match=r"the loss became 3\.0 in epoch 0 by step"):
        sums.require_finite_loss(SKIPPED_IN_A_ROW)


def test_a_skipped_step_leaves_nothing_in_the_running_statistics() -> None:
    draws = WeightedDraws([0, 1], alpha=0.5, epoch_size_mult=100, batch_size=4, seed=1)
    norm = torch.nn.BatchNorm2d(3)
    scaler = torch.amp.GradScaler("cpu")
    sums = Monitor(draws, [Path("a.jpg"), Path("b.jpg")], torch.device("cpu"), scaler=scaler, models=[norm])
    norm(torch.randn(4, 3, 2, 2, generator=torch.manual_seed(0)))
    add(sums, 1.0)
    sums.require_finite_loss(1)
    sound = norm.running_mean.clone()
    assert sound.abs().sum() > 0
    norm(torch.full((4, 3, 2, 2), torch.inf))
    assert not torch.isfinite(norm.running_mean).any()
    add(sums, float("nan"))
    sums.require_finite_weights(norm, 2)
    assert torch.equal(norm.running_mean, sound)


def test_gradients_that_overflow_at_every_step_are_unsound_although_the_loss_is_finite() -> None:
    draws = WeightedDraws([0, 1], alpha=0.5, epoch_size_mult=100, batch_size=4, seed=1)
    layer, scaler = torch.nn.Linear(1, 1), torch.amp.GradScaler("cpu")
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    sums = Monitor(draws, [Path("a.jpg"), Path("b.jpg")], torch.device("cpu"), scaler=scaler, models=[layer])

    def step() -> None:
        # sqrt has an infinite derivative at 0.
        loss = torch.zeros(1, requires_grad=True).mul(layer.weight).abs().sqrt().sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        add(sums, loss.item())

    for number in range(SKIPPED_IN_A_ROW):
        step()
        sums.require_finite_loss(number)
    step()
    with pytest.raises(
        TrainingError, match=r"^the gradients became infinite or undefined in epoch 0 by step"
    ):
        sums.require_finite_loss(SKIPPED_IN_A_ROW + 1)
