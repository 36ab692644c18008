import numpy as np
import pytest

from skinlesion_cli.metrics.packed import Labelled, Packed

RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "some in a number": RANDOM.poisson(1.0, (11, 40)),
    "one": RANDOM.poisson(1.0, (1, 40)),
    "bytes, whose sums are larger": np.full((4, 40), 255, dtype=np.uint8),
    "one in a number": RANDOM.integers(2**40, size=(3, 40)),
    "single precision": RANDOM.poisson(1.0, (11, 40)).astype(np.float32),
    # One resample contains all that its bits can; those beside it contain nothing.
    "full beside empty": np.array([[0] * 40, [7] + [0] * 39, [0] * 40, [0] * 39 + [7]] * 9),
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_counts_are_those_of_each_resample_alone(weights: np.ndarray) -> None:
    packed, exact = Packed(weights), weights.astype(np.int64)
    assert packed.resamples == len(weights)
    assert np.array_equal(packed.totals, exact.sum(axis=1))
    order = np.random.default_rng(1).permutation(40)[:30]
    some, ends = packed.running(order, np.array([3, 3, 17]), np.array([0, 30]))
    assert np.array_equal(some, np.cumsum(exact[:, order], axis=1)[:, [2, 2, 16]])
    assert np.array_equal(ends, np.stack([np.zeros(len(exact)), exact[:, order].sum(axis=1)], axis=1))
    labels = np.arange(40) % 3 * 2
    expected = [np.bincount(labels, minlength=300, weights=row) for row in exact]
    assert np.array_equal(packed.tally(Labelled(labels, 300)), expected)


def test_of_no_images_nothing_is_counted() -> None:
    packed, none = Packed(np.ones((7, 5), dtype=np.uint8)), np.array([], dtype=np.intp)
    assert [found.shape for found in packed.running(none, none, np.array([0]))] == [(7, 0), (7, 1)]
