"""Pairs of photographs that share local features, found without comparing every pair.

All descriptors are sorted into cells around sampled centres (an inverted file, as in Jégou et al., PAMI 2011)
and compared only within their nearest cells. The matches of two photographs count together if they rotate the
image by about the same angle (weak geometric consistency, Jégou et al., ECCV 2008). Photographs are looked up
in blocks, so that only candidates are held in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.curation.fingerprint import Bytes, Fingerprint, Floats, mirrored

Indices = npt.NDArray[np.int64]

DIMENSIONS = 48
"""Principal components that descriptors are compared on."""
CELL_SIZE = 128
"""Descriptors per cell, on average."""
PROBES = 4
"""Cells in which a descriptor is looked up."""
NEIGHBOURS = 8
"""Maximum number of matches of a descriptor per cell."""
SIMILAR = 0.75
"""Least cosine of two descriptors that match."""
ANGLE_BINS = 12
"""Bins of the rotation angle that matches vote for; each match votes for its two nearest bins."""
MIN_VOTES = 6
"""Matches of about one angle that two photographs need to be aligned."""
BLOCK = 400
"""Photographs that are looked up at once."""
ROWS = 50_000
SEED = 0
"""For the cells' centres. Another seed can find slightly different pairs."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Two photographs with matching features."""

    a: int
    b: int
    mirror: bool
    """Whether the features of `a` were mirrored."""
    matches: Indices
    """(n, 2): index of a feature of `a`, and of one of `b`."""


def find_candidates(prints: Sequence[Fingerprint], *, on_event: OnEvent = ignore) -> list[Candidate]:
    """Pairs of photographs that share features, each pair once; `a` and `b` are indices of `prints`."""
    first = np.concatenate([[0], np.cumsum([len(p.descriptors) for p in prints])])
    if first[-1] < 2:
        return []
    index = _Index(prints, np.random.default_rng(SEED))
    found: list[Candidate] = []
    for start in range(0, len(prints), BLOCK):
        stop = min(start + BLOCK, len(prints))
        for mirror in (False, True):
            matches = index.lookup(slice(first[start], first[stop]), mirror)
            found += _agreeing(matches, index.owner, index.angle, first, mirror)
        on_event(ImagesDone("matching features", stop, len(prints)))
    # A pair is found from either side: the one with more matches is kept.
    best: dict[tuple[int, int], Candidate] = {}
    for candidate in sorted(found, key=lambda one: len(one.matches)):
        best[min(candidate.a, candidate.b), max(candidate.a, candidate.b)] = candidate
    return list(best.values())


class _Index:
    """The descriptors of a set, by cell."""

    def __init__(self, prints: Sequence[Fingerprint], random: np.random.Generator) -> None:
        self._raw = np.concatenate([p.descriptors for p in prints])
        self.owner = np.repeat(np.arange(len(prints)), [len(p.descriptors) for p in prints])
        self.angle = np.concatenate([p.sketch.points[:, 3] for p in prints])
        sample = self._raw[random.permutation(len(self._raw))[:ROWS]].astype(np.float32)
        self._mean = sample.mean(0)
        _, _, axes = np.linalg.svd((sample - self._mean).T @ (sample - self._mean))
        self._axes = np.ascontiguousarray(axes[:DIMENSIONS].T)
        self._stored = self._projected(self._raw)
        count = max(1, len(self._stored) // CELL_SIZE)
        self._centres = _centres(self._stored, count, random)
        cell = _nearest(self._stored, self._centres, 1)[:, 0]
        self._order = np.argsort(cell, kind="stable")
        self._bounds = np.searchsorted(cell[self._order], np.arange(count + 1))

    def _projected(self, descriptors: Bytes) -> Floats:
        parts = (descriptors[start : start + ROWS] for start in range(0, len(descriptors), ROWS))
        return np.concatenate([_unit((part.astype(np.float32) - self._mean) @ self._axes) for part in parts])

    def lookup(self, rows: slice, mirror: bool) -> Indices:
        """(n, 2): a feature of `rows`, mirrored if asked, and a similar one of another photograph."""
        asked = self._projected(mirrored(self._raw[rows])) if mirror else self._stored[rows]
        owner = self.owner[rows]
        probes = _nearest(asked, self._centres, PROBES)
        order = np.argsort(probes.ravel(), kind="stable")
        bounds = np.searchsorted(probes.ravel()[order], np.arange(len(self._bounds)))
        found = [np.empty((0, 2), np.int64)]
        for cell in np.nonzero(np.diff(bounds) * np.diff(self._bounds))[0]:
            who = order[bounds[cell] : bounds[cell + 1]] // probes.shape[1]
            here = self._order[self._bounds[cell] : self._bounds[cell + 1]]
            near = asked[who] @ self._stored[here].T
            near[owner[who][:, None] == self.owner[here]] = -1.0
            most = min(NEIGHBOURS, near.shape[1])
            floor = np.partition(near, -most, axis=1)[:, -most, None]
            ones, others = np.nonzero(near >= np.maximum(floor, SIMILAR))
            found.append(np.stack([who[ones] + rows.start, here[others]], axis=1))
        return np.concatenate(found)


def _centres(stored: Floats, count: int, random: np.random.Generator) -> Floats:
    """Sampled descriptors after one step of k-means."""
    centres = stored[random.permutation(len(stored))[:count]]
    sample = stored[random.permutation(len(stored))[: 10 * count]]
    moved = centres.copy()
    np.add.at(moved, _nearest(sample, centres, 1)[:, 0], sample)
    return _unit(moved)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6), np.float32)


def _nearest(rows: Floats, centres: Floats, count: int) -> npt.NDArray[np.int32]:
    """(n, count): the nearest centres of each row, unordered."""
    count = min(count, len(centres))
    result = np.empty((len(rows), count), np.int32)
    step = max(64, 8_000_000 // len(centres))
    for start in range(0, len(rows), step):
        near = rows[start : start + step] @ centres.T
        if count == 1:
            result[start : start + step, 0] = near.argmax(1)
        else:
            result[start : start + step] = np.argpartition(near, -count, axis=1)[:, -count:]
    return result


def _agreeing(
    matches: Indices, owner: Indices, angle: Floats, first: Indices, mirror: bool
) -> Iterator[Candidate]:
    """The matches of each pair of photographs, where enough of them rotate the image alike."""
    total = len(first)
    one, other = matches[:, 0], matches[:, 1]
    turn = (angle[other] + (angle[one] if mirror else -angle[one])) / (2 * np.pi) * ANGLE_BINS
    pair = owner[one] * total + owner[other]
    bins = np.concatenate([np.floor(turn), np.floor(turn) + 1]).astype(np.int64) % ANGLE_BINS
    code = np.tile(pair, 2) * ANGLE_BINS + bins
    order = np.argsort(code, kind="stable")
    starts = np.concatenate([[0], np.nonzero(np.diff(code[order]))[0] + 1, [len(code)]])
    sizes = np.diff(starts)
    best: dict[int, Indices] = {}
    # The strongest angle of a pair comes last and is kept.
    strong = np.nonzero(sizes >= MIN_VOTES)[0]
    for group in strong[np.argsort(sizes[strong], kind="stable")]:
        rows = order[starts[group] : starts[group + 1]] % len(matches)
        best[int(pair[rows[0]])] = rows
    for number, rows in best.items():
        a, b = divmod(number, total)
        yield Candidate(a, b, mirror, matches[rows] - (first[a], first[b]))
