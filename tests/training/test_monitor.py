import torch

from skinlesion_cli.training.monitor import SKIPPED_IN_A_ROW, EpochSums

CPU = torch.device("cpu")


def add(sums: EpochSums, loss: float, weight: float = 2.0, hits: int = 1, drawn: int = 4) -> None:
    sums.add(torch.tensor(loss), torch.tensor(weight), torch.tensor(hits), drawn)


def test_the_loss_is_weighted_and_the_accuracy_is_not() -> None:
    sums = EpochSums(CPU)
    add(sums, 1.0, weight=1.0, hits=4)
    add(sums, 4.0, weight=3.0, hits=1)
    assert sums.loss == 13 / 4
    assert sums.accuracy == 5 / 8


def test_they_come_back_to_the_bit() -> None:
    sums = EpochSums(CPU)
    for loss in (0.1, 0.7, 1e-9):
        add(sums, loss, weight=0.3)
    again = EpochSums(CPU, stored=sums.plain())
    assert again.plain() == sums.plain()
    add(sums, 0.9)
    add(again, 0.9)
    assert (again.loss, again.accuracy) == (sums.loss, sums.accuracy)


def test_without_a_scaler_one_loss_that_is_not_finite_is_unsound() -> None:
    sums = EpochSums(CPU)
    add(sums, 1.0)
    assert sums.sound
    add(sums, float("inf"))
    assert not sums.sound


def test_with_a_scaler_a_few_are_left_out_and_many_in_a_row_are_unsound() -> None:
    sums = EpochSums(CPU, scaled=True)
    add(sums, 3.0)
    for _ in range(SKIPPED_IN_A_ROW - 1):
        add(sums, float("nan"))
    assert sums.sound
    assert sums.loss == 3.0
    add(sums, 3.0)
    for _ in range(SKIPPED_IN_A_ROW):
        assert sums.sound
        add(sums, float("inf"))
    assert not sums.sound
