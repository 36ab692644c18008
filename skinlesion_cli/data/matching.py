"""Which pairs of photographs share local features, without comparing every pair.

All descriptors of a set are laid into cells around sampled centres (an inverted file, as in Jégou et al.,
PAMI 2011) and compared only inside the cells nearest to them, so the work grows little faster than the
number of photographs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinlesion_cli.data.fingerprint import Fingerprint, Floats, mirrored

Indices = npt.NDArray[np.int64]

DIMENSIONS = 64
"""Principal axes that descriptors are compared on."""
CELL_SIZE = 160
"""Descriptors in a cell, on average."""
PROBES = 4
"""Cells that one descriptor is looked up in."""
NEIGHBOURS = 12
"""Matches that one descriptor may have in one cell."""
SIMILAR = 0.80
"""Least cosine of two descriptors that match."""
MIN_VOTES = 10
"""Matches that make two photographs worth aligning."""
BLOCK = 50_000


@dataclass(frozen=True, eq=False)
class Candidate:
    """Two photographs (`a` < `b`) with matching features.

    `matches` (n, 2) holds the index of a feature of `a` and of one of `b`; with `mirror`, the features of
    `a` were mirrored.
    """

    a: int
    b: int
    mirror: bool
    matches: Indices


def candidates(prints: Sequence[Fingerprint], seed: int = 0) -> Iterator[Candidate]:
    """Pairs of photographs that share features, those with most matches first.

    Args:
        prints: of the whole set; `a` and `b` are indices of it.
        seed: of the cells' centres. Another seed can find slightly other pairs.
    """
    owner = np.repeat(np.arange(len(prints)), [len(p.points) for p in prints])
    if len(owner) < 2:
        return
    first = np.concatenate([[0], np.cumsum([len(p.points) for p in prints])])
    random = np.random.default_rng(seed)
    plain = np.concatenate([p.descriptors for p in prints])
    mean, axes = _principal(plain[random.permutation(len(plain))[:BLOCK]])
    stored = _projected(plain, mean, axes)
    asked = _projected(mirrored(plain), mean, axes)
    count = max(1, len(stored) // CELL_SIZE)
    centres = _centres(stored, count, random)
    cells = _nearest(stored, centres, PROBES)
    order = np.argsort(cells[:, 0], kind="stable")
    bounds = np.searchsorted(cells[order, 0], np.arange(count + 1))
    found = []
    for mirror, queries, probes in ((False, stored, cells), (True, asked, _nearest(asked, centres, PROBES))):
        asked_order = np.argsort(probes.ravel(), kind="stable")
        asked_bounds = np.searchsorted(probes.ravel()[asked_order], np.arange(count + 1))
        for cell in range(count):
            here = order[bounds[cell] : bounds[cell + 1]]
            who = asked_order[asked_bounds[cell] : asked_bounds[cell + 1]] // probes.shape[1]
            if len(here) and len(who):
                pair = _close(queries[who], stored[here], owner[who], owner[here])
                ones, others = who[pair[0]], here[pair[1]]
                found.append(np.stack([ones, others, np.full(len(ones), mirror)], axis=1))
    yield from _grouped(np.concatenate(found), owner, first)


def _principal(sample: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    rows = sample.astype(np.float32)
    mean = rows.mean(0)
    _, _, axes = np.linalg.svd((rows - mean).T @ (rows - mean))
    return mean, np.ascontiguousarray(axes[:DIMENSIONS].T)


def _projected(descriptors: npt.NDArray[np.uint8], mean: Floats, axes: Floats) -> Floats:
    parts = []
    for start in range(0, len(descriptors), BLOCK):
        part = (descriptors[start : start + BLOCK].astype(np.float32) - mean) @ axes
        parts.append(part / (np.linalg.norm(part, axis=1, keepdims=True) + 1e-6))
    return np.concatenate(parts)


def _centres(stored: Floats, count: int, random: np.random.Generator) -> Floats:
    """Sampled descriptors, once moved to the mean of what lies nearest to them."""
    centres = stored[random.permutation(len(stored))[:count]]
    sample = stored[random.permutation(len(stored))[: 20 * count]]
    cell = _nearest(sample, centres, 1)[:, 0]
    moved = centres.copy()
    np.add.at(moved, cell, sample)
    normed: Floats = moved / (np.linalg.norm(moved, axis=1, keepdims=True) + 1e-6)
    return normed


def _nearest(rows: Floats, centres: Floats, count: int) -> npt.NDArray[np.int32]:
    """(n, count): the nearest centres of each row, the nearest first."""
    count = min(count, len(centres))
    result = np.empty((len(rows), count), np.int32)
    step = max(64, 20_000_000 // len(centres))
    for start in range(0, len(rows), step):
        near = rows[start : start + step] @ centres.T
        best = np.argpartition(-near, count - 1, axis=1)[:, :count]
        rank = np.argsort(-np.take_along_axis(near, best, 1), axis=1)
        result[start : start + step] = np.take_along_axis(best, rank, 1)
    return result


def _close(asked: Floats, stored: Floats, asker: Indices, owner: Indices) -> tuple[Indices, Indices]:
    near = asked @ stored.T
    near[asker[:, None] == owner[None, :]] = -1.0
    if near.shape[1] > NEIGHBOURS:
        floor = -np.partition(-near, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1 : NEIGHBOURS]
        keep = (near >= SIMILAR) & (near >= floor)
    else:
        keep = near >= SIMILAR
    rows, columns = np.nonzero(keep)
    return rows, columns


def _grouped(found: Indices, owner: Indices, first: Indices) -> Iterator[Candidate]:
    """Matches by pair of photographs and by mirror, the longest lists first."""
    total = len(first)
    a, b = owner[found[:, 0]], owner[found[:, 1]]
    swap = a > b
    # A match, mirrored or not, holds in the other direction too.
    low, high = np.where(swap, found[:, 1], found[:, 0]), np.where(swap, found[:, 0], found[:, 1])
    pair = np.minimum(a, b) * total + np.maximum(a, b)
    rows = np.unique(np.stack([pair, found[:, 2], low, high], axis=1), axis=0)
    code = rows[:, 0] * 2 + rows[:, 1]
    starts = np.concatenate([[0], np.nonzero(np.diff(code))[0] + 1, [len(code)]])
    sizes = np.diff(starts)
    groups = np.nonzero(sizes >= MIN_VOTES)[0]
    for group in groups[np.argsort(-sizes[groups], kind="stable")]:
        part = rows[starts[group] : starts[group + 1]]
        one, other = divmod(int(part[0, 0]), total)
        yield Candidate(one, other, bool(part[0, 1]), part[:, 2:] - (first[one], first[other]))
