import numpy as np
import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.training.division import Division, step_line
from skinlesion_cli.training.sampler import Draw, WeightedDraws

LABELS = [0] * 12 + [1] * 7 + [2] * 4


def draws(division: Division = Division(), *, batch_size: int = 8, mult: float = 2.0) -> WeightedDraws:  # noqa: B008
    sampler = WeightedDraws(
        LABELS, alpha=0.5, epoch_size_mult=mult, batch_size=batch_size, seed=5, division=division
    )
    sampler.epoch = 3
    return sampler


def of_all(processes: int, accumulate: int, **options: float) -> list[WeightedDraws]:
    return [draws(Division(processes, rank, accumulate), **options) for rank in range(processes)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("processes", "accumulate"), [(2, 1), (1, 2), (3, 1), (2, 2), (4, 1)])
@pytest.mark.parametrize("mult", [1.0, 2.0, 3.17])
def test_the_processes_together_draw_what_one_draws_in_the_same_order(
    processes: int, accumulate: int, mult: float
) -> None:
    every = of_all(processes, accumulate, batch_size=3, mult=mult)
    batches = [list(one) for one in every]
    assert [len(one) for one in batches] == [len(one) for one in every]
    joined: list[Draw] = []
    for step in range(every[0].steps):
        for turn in range(accumulate):
            joined += [draw for one in batches for draw in one[step * accumulate + turn]]
    alone = draws(batch_size=3 * processes * accumulate, mult=mult)
    assert joined == [draw for batch in alone for draw in batch]
    assert joined == [draw for batch in every[-1].batches(0, every[-1].steps) for draw in batch]
    sizes = {len(batch) for one in batches for batch in one[: (every[0].steps - 1) * accumulate]}
    assert sizes <= {3}
    assert min(len(batch) for one in batches for batch in one) >= 2


def test_a_step_that_is_no_multiple_is_cut_as_evenly_as_can_be() -> None:
    assert [Division(3, rank).mine(8) for rank in range(3)] == [[slice(0, 2)], [slice(2, 5)], [slice(5, 8)]]
    assert Division(2, 1, 2).mine(10) == [slice(2, 5), slice(7, 10)]


def test_a_last_step_too_small_for_all_joins_the_one_before() -> None:
    # 46 draws in steps of 16 leave 14, enough for 2 × 2 batches; in steps of 20 they leave 6, too few.
    assert [len(batch) for batch in draws(Division(2, 0, 2), batch_size=4)] == [4] * 4 + [3, 3]
    assert [len(batch) for batch in draws(Division(2, 0, 2), batch_size=5)] == [5, 5, 6, 6]


def test_resuming_leaves_out_whole_steps() -> None:
    sampler = draws(Division(2, 1, 2), batch_size=4)
    whole, shares = list(sampler), list(sampler.shares(np.array([1.0, 2.0, 5.0])))
    sampler.first_step = 1
    assert list(sampler) == whole[2:]
    assert len(sampler) == len(whole) - 2
    assert list(sampler.shares(np.array([1.0, 2.0, 5.0]))) == shares[1:]


def test_shares_make_the_mean_of_means_the_mean_of_the_step() -> None:
    weights, losses = np.random.default_rng(1).random((2, 11))
    mean = 0.0
    for rank in range(2):
        division = Division(2, rank, 2)
        for part, share in zip(division.mine(11), division.shares(weights), strict=True):
            mean += share * np.average(losses[part], weights=weights[part]) / 2
    assert mean == pytest.approx(np.average(losses, weights=weights), rel=1e-12)
    assert Division().shares(np.array([np.inf])) == [1.0]


def test_the_shares_follow_the_draws() -> None:
    class_weights = np.array([0.5, 1.0, 1.5])
    sampler = draws(Division(2, 1), batch_size=4)
    for (count, shares), batch, step in zip(
        sampler.shares(class_weights), sampler, sampler.batches(0, sampler.steps), strict=True
    ):
        of_step, of_batch = (sum(class_weights[LABELS[index]] for index, _ in some) for some in (step, batch))
        assert count == len(step)
        assert shares == [pytest.approx(2 * of_batch / of_step, rel=1e-12)]


def test_more_processes_than_draws_are_refused() -> None:
    with pytest.raises(InputError, match="draws 23 images, too few for 24 batches a step: start fewer"):
        draws(Division(24, 0), mult=1.0)


def test_a_step_says_what_it_is_made_of() -> None:
    settings = Settings(batch_size=32, accumulate=4)
    assert step_line(2, settings, 256) == (
        "2 processes × batch 32 × accumulate 4 = 256 images a step; learning rate unchanged"
    )
    assert step_line(2, Settings(), 64).startswith("2 processes × batch 32 = 64 images a step")
