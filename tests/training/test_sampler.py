from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.training.sampler import Division, Draw, TrainingImages, WeightedDraws, training_loader

COUNTS = (700, 200, 90, 10)
LABELS = [label for label, count in enumerate(COUNTS) for _ in range(count)]
SMALL = [0] * 12 + [1] * 7 + [2] * 4


def draws(alpha: float, *, size: int = 200_000, seed: int = 1, batch_size: int = 32) -> WeightedDraws:
    return WeightedDraws(
        LABELS, alpha=alpha, epoch_size_mult=size / len(LABELS), batch_size=batch_size, seed=seed
    )


def test_a_resumed_epoch_leaves_out_the_steps_that_were_done() -> None:
    sampler = draws(0.5, size=100, batch_size=32)
    whole = list(sampler)
    sampler.start_epoch(0, len(whole) - 2)
    assert list(sampler) == whole[-2:]
    assert (len(sampler), sampler.steps) == (2, len(whole))
    assert sampler.images_of_steps(1, 3) == [index for batch in whole[1:3] for index, _ in batch]
    sampler.start_epoch(0, len(whole))
    assert list(sampler) == []


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_classes_are_drawn_with_their_probability_and_images_alike(alpha: float) -> None:
    indices = draws(alpha).indices
    powers = np.array(COUNTS, dtype=float) ** alpha
    by_class = np.bincount(np.array(LABELS)[indices], minlength=len(COUNTS))
    assert chisquare(by_class, 200_000 * powers / powers.sum()).pvalue > 0.001
    for label in range(len(COUNTS)):
        of_images = np.bincount(indices, minlength=len(LABELS))[np.array(LABELS) == label]
        assert chisquare(of_images).pvalue > 0.001


def test_the_frequency_test_can_fail() -> None:
    # The reference code's n^-alpha a sample gives a class n^(1-alpha): right at 0.5 alone.
    indices = draws(0.0).indices
    by_class = np.bincount(np.array(LABELS)[indices], minlength=len(COUNTS))
    wrong = np.array(COUNTS, dtype=float)
    assert chisquare(by_class, 200_000 * wrong / wrong.sum()).pvalue < 1e-9


def test_an_epoch_draws_the_rounded_multiple_in_full_batches() -> None:
    sampler = WeightedDraws([0, 0, 1, 1, 1], alpha=0.5, epoch_size_mult=1.5, batch_size=3, seed=0)
    assert sampler.epoch_size == round(1.5 * 5) == 8
    assert [len(batch) for batch in sampler] == [3, 3, 2]
    assert len(sampler) == 3


def test_a_last_single_image_joins_the_batch_before_it() -> None:
    sampler = WeightedDraws([0, 0, 1, 1], alpha=0.5, epoch_size_mult=1.75, batch_size=3, seed=0)
    assert [len(batch) for batch in sampler] == [3, 4]
    assert len(sampler) == 2


def test_draws_follow_from_seed_and_epoch() -> None:
    first, again, other = draws(0.5, size=500), draws(0.5, size=500), draws(0.5, size=500, seed=2)
    assert list(first) == list(again)
    assert list(first) != list(other)
    again.start_epoch(1)
    assert list(first) != list(again)


def test_an_augmented_picture_depends_on_its_draw_alone(data: Path) -> None:
    images = TrainingImages(read_split(data, "train"), 64)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, label, parameters = images[3, 99]
    again, _, same = images[3, 99]
    other, _, others = images[3, 107]
    assert torch.equal(first, again)
    assert torch.equal(parameters, same)
    assert not torch.equal(parameters, others)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.dtype == torch.uint8
    assert first.shape == (3, 64, 64)
    assert label == 0


def test_workers_do_not_change_what_is_loaded(data: Path) -> None:
    split = read_split(data, "train")
    batches = []
    for workers in (0, 2):
        sampler = WeightedDraws(split.labels, alpha=0.5, epoch_size_mult=1.0, batch_size=8, seed=3)
        loader = training_loader(split, sampler, img_size=64, workers=workers)
        batches.append([images for images, _, _ in loader])
    assert [len(images) for images in batches[0]] == [8, 8, 7]
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def in_parts(division: Division, *, batch_size: int = 8, mult: float = 2.0) -> WeightedDraws:
    sampler = WeightedDraws(
        SMALL, alpha=0.5, epoch_size_mult=mult, batch_size=batch_size, seed=5, division=division
    )
    sampler.start_epoch(3)
    return sampler


def of_all(processes: int, accumulate: int, **options: float) -> list[WeightedDraws]:
    return [in_parts(Division(processes, rank, accumulate), **options) for rank in range(processes)]  # type: ignore[arg-type]


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
    alone = in_parts(Division(), batch_size=3 * processes * accumulate, mult=mult)
    assert joined == [draw for batch in alone for draw in batch]
    assert every[-1].images_of_steps(0, every[-1].steps) == [index for index, _ in joined]
    sizes = {len(batch) for one in batches for batch in one[: (every[0].steps - 1) * accumulate]}
    assert sizes <= {3}
    assert min(len(batch) for one in batches for batch in one) >= 2


def test_a_step_that_is_no_multiple_is_cut_as_evenly_as_can_be() -> None:
    assert [Division(3, rank).own_parts(8) for rank in range(3)] == [
        [slice(0, 2)],
        [slice(2, 5)],
        [slice(5, 8)],
    ]
    assert Division(2, 1, 2).own_parts(10) == [slice(2, 5), slice(7, 10)]


def test_a_last_step_too_small_for_all_joins_the_one_before() -> None:
    # 46 draws in steps of 16 leave 14, enough for 2 × 2 batches; in steps of 20 they leave 6, too few.
    assert [len(batch) for batch in in_parts(Division(2, 0, 2), batch_size=4)] == [4] * 4 + [3, 3]
    assert [len(batch) for batch in in_parts(Division(2, 0, 2), batch_size=5)] == [5, 5, 6, 6]


def test_resuming_leaves_out_whole_steps_of_every_process() -> None:
    sampler = in_parts(Division(2, 1, 2), batch_size=4)
    whole, labels = list(sampler), [one.tolist() for one in sampler.labels_by_step()]
    sampler.start_epoch(3, 1)
    assert list(sampler) == whole[2:]
    assert len(sampler) == len(whole) - 2
    assert [one.tolist() for one in sampler.labels_by_step()] == labels[1:]


def test_the_labels_of_a_step_are_those_of_all_its_images() -> None:
    sampler = in_parts(Division(2, 1), batch_size=4)
    by_step = list(sampler.labels_by_step())
    assert len(by_step) == sampler.steps > 1
    for step, labels in enumerate(by_step):
        images = sampler.images_of_steps(step, step + 1)
        assert labels.tolist() == [SMALL[index] for index in images]


def test_more_processes_than_draws_are_refused() -> None:
    with pytest.raises(InputError, match="draws 23 images, too few for 24 batches per step: start fewer"):
        in_parts(Division(24, 0), mult=1.0)


def test_a_step_says_what_it_is_made_of() -> None:
    assert Division(2, 0, 4).describe(Settings(batch_size=32, accumulate=4)) == (
        "2 processes × batch 32 × accumulate 4 = 256 images per step; learning rate unchanged"
    )
    assert Division(2).describe(Settings()).startswith("2 processes × batch 32 = 64 images per step")
