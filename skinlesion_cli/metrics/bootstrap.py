"""Percentile bootstrap intervals (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, ch. 13).

Images, or whole groups of them, are resampled with replacement. A resample is a row of multiplicities, so
all metrics of many resamples come from a few sums over arrays. scipy.stats.bootstrap calls the statistic on
resampled copies of the data, which is many times slower, and it cannot resample groups.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.common.cores import usable_cores
from skinlesion_cli.metrics.arrays import Booleans, Floats, Ints, Multiplicities
from skinlesion_cli.metrics.packed import Labelled, Packed

Result = TypeVar("Result")

RESAMPLES = 2000
LEVEL = 0.95
# Multiplicities per block: few, so that everything computed from them stays in the cache; but at least
# as many resamples as fit into a number of `Packed`.
_CELLS, _FEWEST = 1_200_000, 3
_MOST_THREADS = 4
# Resamples with at most this many multiplicities (a byte each) are kept; larger ones are redrawn for each
# section of a document, from the same seed, so that memory stays bounded at any number of images.
_KEPT = 1_000_000_000

Draws = NDArray[Any]


class Bootstrap:
    """The resamples of a set of images, the same for every metric that is computed from them."""

    def __init__(
        self, n: int, groups: Sequence[str] | None = None, *, resamples: int = RESAMPLES, seed: int = 0
    ):
        """Describe the resamples; they are drawn when they are first needed.

        Args:
            groups: lesion or patient of each image. Whole groups are then resampled, because errors within a
                group are correlated; None treats the images as independent.
            seed: for the same number of images or groups, the same seed draws the same resamples, so that the
                metrics of two models can be paired.
        """
        self.n, self.groups, self.resamples, self.seed = n, groups, resamples, seed
        self._members = None if groups is None else _members(groups)

    @property
    def unit(self) -> str:
        """What is resampled: "images" or "groups"."""
        return "images" if self.groups is None else "groups"

    @property
    def method(self) -> str:
        """The method in words, for a document."""
        return f"percentile bootstrap, {self.resamples} resamples of {self.unit}"

    def units(self, inside: Booleans) -> Floats:
        """Images, or groups with an image, in each column of `inside` (n, columns): (columns,) numbers."""
        if self._members is None:
            return np.asarray(inside.sum(axis=0), dtype=np.float64)
        counts = [np.count_nonzero(np.bincount(self._members[column])) for column in inside.T]
        return np.array(counts, dtype=np.float64)

    def take(self, rows: Sequence[int]) -> "Bootstrap":
        """Resamples of some of the images only, with the same number and seed."""
        groups = None if self.groups is None else [self.groups[row] for row in rows]
        return Bootstrap(len(rows), groups, resamples=self.resamples, seed=self.seed)

    def figures(self, figures_of: Callable[[Multiplicities], Mapping[str, Floats]]) -> dict[str, Floats]:
        """The figures (resamples, …) of all resamples; `figures_of` computes those of some of them."""
        parts = self.mapped(figures_of)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def mapped(self, function: Callable[[Multiplicities], Result]) -> list[Result]:
        """The results for all blocks of (some resamples, n), in order, computed in threads."""
        if self._kept:
            return self._in_threads(lambda counts: function(self._of_images(counts)), self._kept)
        return self._in_threads(lambda drawn: function(self._of_images(_counted(drawn))), self._drawn())

    def means(self, columns: Floats) -> Floats:
        """The mean of each of the few `columns` (n, columns) over each resample: (resamples, columns)."""
        return np.concatenate(
            self.mapped(
                lambda weights: weights.astype(np.float64) @ columns / weights.sum(axis=1, keepdims=True)
            )
        )

    def tally(self, labels: Ints, count: int) -> Floats:
        """How often each resample has each of the labels (n,), from 0 to `count` - 1: (resamples, count)."""
        labelled = Labelled(labels, count)
        return np.concatenate(self.mapped(lambda weights: Packed(weights).tally(labelled)))

    @cached_property
    def _kept(self) -> list[Draws]:
        return self._in_threads(_counted, self._drawn()) if self.resamples * self._units <= _KEPT else []

    @property
    def _units(self) -> int:
        return self.n if self._members is None else int(self._members.max()) + 1

    def _in_threads(self, function: Callable[[Draws], Result], blocks: Iterable[Draws]) -> list[Result]:
        """The function of each block, in order; numpy lets threads run in long operations."""
        threads = min(usable_cores(), _MOST_THREADS)
        if threads == 1 or self.resamples * self.n <= _CELLS:
            return [function(block) for block in blocks]
        waiting: deque[Future[Result]] = deque()
        results = []
        with ThreadPoolExecutor(threads) as pool:
            for block in blocks:
                waiting.append(pool.submit(function, block))
                # At most one block per thread is drawn ahead.
                if len(waiting) > threads:
                    results.append(waiting.popleft().result())
            return [*results, *(one.result() for one in waiting)]

    def _of_images(self, counts: Draws) -> Multiplicities:
        return counts if self._members is None else np.take(counts, self._members, axis=1)

    def _drawn(self) -> Iterator[Draws]:
        """Yield (some resamples, units): the images or groups that are drawn for each of these resamples."""
        generator, units = np.random.default_rng(self.seed), self._units
        most = max(_FEWEST, _CELLS // self.n)
        for start in range(0, self.resamples, most):
            yield generator.integers(units, size=(min(most, self.resamples - start), units))


def _members(groups: Sequence[str]) -> Ints:
    """The index of each image's group among the names in order, (n,)."""
    index = {name: place for place, name in enumerate(sorted(set(groups)))}
    return np.array([index[name] for name in groups])


def _counted(drawn: Draws) -> Multiplicities:
    """How often each row draws each of as many images or groups as a row is long."""
    counts = [np.bincount(row, minlength=len(row)) for row in drawn]
    smallest = np.min_scalar_type(max(row.max() for row in counts))
    return np.stack(counts, dtype=smallest, casting="unsafe")


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95% of the values that are defined; (NaN, NaN) if none is."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return low, high
