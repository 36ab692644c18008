from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from skinlesion_cli.data.splits import read_split
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.training.sampler import TrainingImages, WeightedDraws, training_loader

COUNTS = (700, 200, 90, 10)
LABELS = [label for label, count in enumerate(COUNTS) for _ in range(count)]


def draws(alpha: float, *, size: int = 200_000, seed: int = 1, batch_size: int = 32) -> WeightedDraws:
    return WeightedDraws(
        LABELS, alpha=alpha, epoch_size_mult=size / len(LABELS), batch_size=batch_size, seed=seed
    )


def test_a_resumed_epoch_leaves_out_the_steps_that_were_done() -> None:
    sampler = draws(0.5, size=100, batch_size=32)
    whole = list(sampler)
    sampler.first_step = len(whole) - 2
    assert list(sampler) == whole[-2:]
    assert (len(sampler), sampler.steps) == (2, len(whole))
    assert list(sampler.batches(1, 3)) == whole[1:3]
    sampler.first_step = len(whole)
    assert list(sampler) == []


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_classes_are_drawn_with_their_probability_and_images_alike(alpha: float) -> None:
    indices, _ = draws(alpha).draw()
    powers = np.array(COUNTS, dtype=float) ** alpha
    by_class = np.bincount(np.array(LABELS)[indices], minlength=len(COUNTS))
    assert chisquare(by_class, 200_000 * powers / powers.sum()).pvalue > 0.001
    for label in range(len(COUNTS)):
        of_images = np.bincount(indices, minlength=len(LABELS))[np.array(LABELS) == label]
        assert chisquare(of_images).pvalue > 0.001


def test_the_frequency_test_can_fail() -> None:
    # The reference code's n^-alpha a sample gives a class n^(1-alpha): right at 0.5 alone.
    indices, _ = draws(0.0).draw()
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
    again.epoch = 1
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
        loader = training_loader(
            split,
            sampler,
            img_size=64,
            workers=workers,
            pin_memory=False,
            runtime=choose_runtime("cpu", "fp32", training=True),
        )
        batches.append([images for images, _, _ in loader])
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))
