"""The multiplicities of several resamples in each 64-bit number, so that one addition counts for all of them.

With 400,000 images a count has 19 bits, and three resamples fit in a number. Taking images in an order and
adding them up is nearly all the work of a bootstrap, and so takes a third of the time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.arrays import Floats, Ints


class Packed:
    """Multiplicities (resamples, n), packed. All counts are exact integers."""

    def __init__(self, weights: NDArray[Any]):
        """Pack integers of any type."""
        totals = weights.sum(axis=1)
        self.resamples, self.totals = len(weights), totals.astype(np.float64)
        # No sum over images is larger than that over all: none overflows into the bits of the next resample.
        bits = max(1, int(totals.max()).bit_length())
        self._mask = np.uint64((1 << bits) - 1)
        self._shifts = [np.uint64(shift) for shift in range(0, 64 - bits + 1, bits)]
        self._numbers = np.zeros((-(-len(weights) // len(self._shifts)), weights.shape[1]), dtype=np.uint64)
        for place, shift in enumerate(self._shifts):
            part = weights[place :: len(self._shifts)]
            self._numbers[: len(part)] |= part.astype(np.uint64) << shift

    def running(self, order: NDArray[np.intp], *places: NDArray[np.intp]) -> list[Floats]:
        """(resamples, len(place)) for each of `places`: images among the first `place` ones of the order."""
        counts = np.zeros((len(self._numbers), len(order) + 1), dtype=np.uint64)
        np.cumsum(self._take(order), axis=1, out=counts[:, 1:])
        return [self._unpacked(np.take(counts, place, axis=1)) for place in places]

    def tally(self, labelled: "Labelled") -> Floats:
        """(resamples, labels): how often each resample has each label."""
        counts = np.zeros((self.resamples, labelled.labels))
        sums = np.add.reduceat(self._take(labelled.order), labelled.starts, axis=1)
        counts[:, labelled.found] = self._unpacked(sums)
        return counts

    def _take(self, order: NDArray[np.intp]) -> NDArray[np.uint64]:
        # "clip" only leaves out a check of the indices, which are all valid.
        return np.take(self._numbers, order, axis=1, mode="clip")

    def _unpacked(self, numbers: NDArray[np.uint64]) -> Floats:
        every = len(self._shifts)
        counts = np.empty((every * len(numbers), numbers.shape[1]))
        for place, shift in enumerate(self._shifts):
            counts[place::every] = numbers >> shift & self._mask
        return counts[: self.resamples]


class Labelled:
    """Images (n,) with labels from 0 to `labels` - 1, sorted once for any number of resamples."""

    def __init__(self, of_images: Ints, labels: int):
        # Small integers are sorted in linear time.
        small = of_images.astype(np.min_scalar_type(labels))
        self.labels, self.order = labels, np.argsort(small, kind="stable")
        self.found, self.starts = np.unique(small[self.order], return_index=True)
