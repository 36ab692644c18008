"""Pairs of photographs that share local features, found without comparing every pair.

The strongest features of all photographs are sorted into cells around sampled centres (an inverted file, as
in Jégou et al., PAMI 2011) and compared only within their nearest cells. Matches of two photographs count
together if they rotate the image by about the same angle (weak geometric consistency, Jégou et al., ECCV
2008). The features are in temporary files, which the processes that look photographs up share, so that memory
holds only what is in use.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skinlesion_cli.common.events import ImagesDone, OnEvent
from skinlesion_cli.curation.fingerprint import (
    DESCRIPTOR,
    Bytes,
    Fingerprint,
    Floats,
    Indices,
    mirrored,
    strongest,
)
from skinlesion_cli.data.workers import process_pool

Codes = npt.NDArray[np.int8]

DIMENSIONS = 48
"""Components that descriptors are compared on."""
SCALE = 127
"""Of a component, -1 to 1, stored as a whole number."""
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
"""Matches of about one angle that make two photographs candidates."""
BLOCK = 8000
"""Photographs that are looked up at once."""
ROWS = 50_000
SEED = 0
"""For the cells' centres. Another seed can find slightly different pairs."""


class Candidate(NamedTuple):
    """Two photographs that share features, by their indices."""

    a: int
    b: int
    mirror: bool
    """Whether the features of `a` were mirrored."""
    matches: Bytes
    """(n, 2): features of `a` and `b`, as numbered by `strongest`."""

    @property
    def edge(self) -> tuple[int, int]:
        """The two indices, ascending."""
        return min(self.a, self.b), max(self.a, self.b)


@dataclass(frozen=True, eq=False)
class Basis:
    """Principal components of descriptors, each of which keeps its value or changes its sign in a mirror."""

    mean: Floats
    axes: Floats
    """(128, `DIMENSIONS`)."""
    signs: Floats
    """(`DIMENSIONS`,): 1 or -1, what a mirror multiplies each component by."""

    @classmethod
    def of(cls, descriptors: Bytes) -> "Basis":
        """The components of these descriptors and their mirror images together."""
        sample = descriptors[:ROWS].astype(np.float32)
        mirror = mirrored(np.eye(DESCRIPTOR, dtype=np.float32))
        mean = np.asarray((sample.mean(0) + sample.mean(0) @ mirror) / 2, np.float32)
        spread = (sample - mean).T @ (sample - mean)
        parts = []
        for sign in (1.0, -1.0):
            half = (np.eye(DESCRIPTOR) + sign * mirror) / 2
            values, vectors = np.linalg.eigh(half @ spread @ half)
            parts += [(value, sign, vector) for value, vector in zip(values.tolist(), vectors.T, strict=True)]
        parts = sorted(parts, key=lambda part: -part[0])[:DIMENSIONS]
        axes = np.stack([vector for _, _, vector in parts], 1).astype(np.float32)
        return cls(mean, axes, np.array([sign for _, sign, _ in parts], np.float32))

    def project(self, descriptors: Bytes) -> Floats:
        """Components (n, `DIMENSIONS`) of unit length."""
        return _unit(np.asarray((descriptors - self.mean) @ self.axes, np.float32))


class FeatureIndex:
    """The strongest features of a set of photographs, about 60 bytes each, in files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._basis: Basis | None = None
        self._first = [0]
        self._waiting: list[Bytes] = []
        self._written = 0
        self._codes = (folder / "codes").open("wb")
        self._angles = (folder / "angles").open("wb")

    @property
    def basis(self) -> Basis | None:
        """The components that features are compared on; None without any feature."""
        return self._basis

    def add(self, one: Fingerprint | None) -> None:
        """Add the next photograph; None keeps its index without any features."""
        self._first.append(self._first[-1])
        if one is None or not len(one.descriptors):
            return
        rows = strongest(one.sketch.points)
        self._first[-1] += len(rows)
        self._waiting.append(one.descriptors[rows])
        self._angles.write(one.sketch.points[rows, 3].tobytes())
        if self._first[-1] - self._written >= ROWS:
            self._flush()

    def close(self) -> None:
        """Close the files, so that the folder can be removed."""
        self._codes.close()
        self._angles.close()

    def _flush(self) -> None:
        if self._first[-1] > self._written:
            raw = np.concatenate(self._waiting)
            self._basis = self._basis or Basis.of(raw)
            self._codes.write(np.rint(self._basis.project(raw) * SCALE).astype(np.int8).tobytes())
            self._waiting, self._written = [], self._first[-1]

    def candidates(self, workers: int, on_event: OnEvent) -> list[Candidate]:
        """Pairs of photographs that share features, each pair once, ascending."""
        self._flush()
        self.close()
        photographs = len(self._first) - 1
        if self._basis is None or self._first[-1] < 2:
            return []
        np.save(self._folder / "first.npy", self._first)
        np.save(self._folder / "signs.npy", self._basis.signs)
        _Cells.build(_codes(self._folder), np.random.default_rng(SEED)).save(self._folder)
        tasks = list(itertools.product(range(0, photographs, BLOCK), (False, True)))
        # A pair is found from either side: the one with more matches is kept.
        best: dict[tuple[int, int], Candidate] = {}
        with process_pool(workers) as pool:
            blocks = (pool.map if pool else map)(partial(_look_up, self._folder), *zip(*tasks, strict=True))
            for done, found in enumerate(blocks, start=1):
                for one in found:
                    if one.edge not in best or len(one.matches) > len(best[one.edge].matches):
                        best[one.edge] = one
                on_event(ImagesDone("matching features", photographs * done // len(tasks), photographs))
        return [best[edge] for edge in sorted(best)]


def _codes(folder: Path) -> Codes:
    return np.memmap(folder / "codes", np.int8, "r").reshape(-1, DIMENSIONS)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Centres of cells, in two levels, and the features of each cell."""

    heads: Floats
    """A sample of the centres."""
    bounds: Indices
    """(heads + 1,): the centres nearest to each head."""
    centres: Floats
    members: Indices
    """Features, by cell."""
    starts: Indices
    """(centres + 1,): the members of each cell."""

    @classmethod
    def build(cls, codes: Codes, random: np.random.Generator) -> "_Cells":
        count = max(1, len(codes) // CELL_SIZE)
        centres = _unit(codes[np.sort(random.choice(len(codes), count, replace=False))].astype(np.float32))
        heads = centres[random.choice(count, round(count**0.5), replace=False)]
        head = _nearest(centres, heads, 1)[0][:, 0]
        order = np.argsort(head, kind="stable")
        bounds = np.searchsorted(head[order], np.arange(len(heads) + 1))
        empty = np.empty(0, np.int64)
        cells = cls(heads, bounds, centres[order], empty, empty)
        parts = (codes[start : start + ROWS] for start in range(0, len(codes), ROWS))
        cell = np.concatenate([cells.nearest(part.astype(np.float32), 1)[:, 0] for part in parts])
        members = np.argsort(cell, kind="stable")
        starts = np.searchsorted(cell[members], np.arange(count + 1))
        return replace(cells, members=members, starts=starts)

    def save(self, folder: Path) -> None:
        for one in fields(self):
            np.save(folder / f"cells-{one.name}.npy", getattr(self, one.name))

    @classmethod
    def load(cls, folder: Path) -> "_Cells":
        return cls(*(np.load(folder / f"cells-{one.name}.npy", mmap_mode="r") for one in fields(cls)))

    def nearest(self, rows: Floats, count: int) -> npt.NDArray[np.int32]:
        """(n, `count`): the nearest cells of each row, those of its `PROBES` nearest heads; -1 if fewer."""
        heads, _ = _nearest(rows, self.heads, PROBES)
        best = np.full((len(rows), heads.shape[1], count), -np.inf, np.float32)
        cells = np.full(best.shape, -1, np.int32)
        order = np.argsort(heads.ravel(), kind="stable")
        ends = np.searchsorted(heads.ravel()[order], np.arange(len(self.heads) + 1))
        for head in range(len(self.heads)):
            who, place = np.divmod(order[ends[head] : ends[head + 1]], heads.shape[1])
            low, high = self.bounds[head], self.bounds[head + 1]
            if len(who) and high > low:
                index, near = _nearest(rows[who], self.centres[low:high], count)
                cells[who, place, : index.shape[1]] = index + low
                best[who, place, : index.shape[1]] = near
        found = cells.reshape(len(rows), -1)
        if found.shape[1] <= count:
            return found
        chosen = np.argpartition(best.reshape(len(rows), -1), -count, axis=1)[:, -count:]
        return np.take_along_axis(found, chosen, axis=1)


def _look_up(folder: Path, start: int, mirror: bool) -> list[Candidate]:
    """The candidates of a block of photographs, mirrored or not; `a` is in the block."""
    codes, first = _codes(folder), np.load(folder / "first.npy", mmap_mode="r")
    rows = slice(int(first[start]), int(first[min(start + BLOCK, len(first) - 1)]))
    asked = codes[rows].astype(np.float32)
    if mirror:
        asked *= np.load(folder / "signs.npy")
    one, other = _matches(asked, codes, _Cells.load(folder))
    one += rows.start
    a, b = (np.searchsorted(first, side, side="right") - 1 for side in (one, other))
    pair = np.where(a == b, -1, a * len(first) + b)
    # Most pairs share a feature or two by chance: only the others are counted by angle.
    shared, times = np.unique(pair, return_counts=True)
    chosen = np.isin(pair, shared[(times >= MIN_VOTES) & (shared >= 0)])
    one, other, pair = one[chosen], other[chosen], pair[chosen]
    angles = np.memmap(folder / "angles", np.float32, "r")
    best: dict[int, Candidate] = {}
    for votes in _votes(pair, angles[other] + (angles[one] if mirror else -angles[one])):
        number = int(pair[votes[0]])
        # The strongest angle of a pair is kept.
        if number not in best or len(votes) > len(best[number].matches):
            of_a, of_b = divmod(number, len(first))
            matches = np.stack([one[votes] - first[of_a], other[votes] - first[of_b]], axis=1)
            best[number] = Candidate(of_a, of_b, mirror, matches.astype(np.uint8))
    return list(best.values())


def _matches(asked: Floats, codes: Codes, cells: _Cells) -> tuple[Indices, Indices]:
    """Rows of `asked` and of `codes` that match, (n,) each."""
    probes = cells.nearest(asked, PROBES)
    order = np.argsort(probes.ravel(), kind="stable")
    ends = np.searchsorted(probes.ravel()[order], np.arange(len(cells.starts)))
    ones, others = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for cell in np.nonzero(np.diff(ends) * np.diff(cells.starts))[0]:
        who = order[ends[cell] : ends[cell + 1]] // probes.shape[1]
        here = cells.members[cells.starts[cell] : cells.starts[cell + 1]]
        near = asked[who] @ codes[here].astype(np.float32).T
        most = min(NEIGHBOURS, near.shape[1])
        floor = np.partition(near, -most, axis=1)[:, -most, None]
        one, other = np.nonzero(near >= np.maximum(floor, SIMILAR * SCALE**2))
        # They are many: until all are found, in half the memory.
        ones.append(who[one].astype(np.int32))
        others.append(here[other].astype(np.int32))
    return np.concatenate(ones).astype(np.int64), np.concatenate(others).astype(np.int64)


def _votes(pair: Indices, turn: Floats) -> Iterator[Indices]:
    """The matches of one pair and about one angle, if they are at least `MIN_VOTES`."""
    code = (pair[:, None] * ANGLE_BINS + _bins(turn)).T.ravel()
    order = np.argsort(code, kind="stable")
    begins = np.flatnonzero(np.diff(code[order], prepend=-1))
    sizes = np.diff(begins, append=len(code))
    for begin, size in zip(begins[sizes >= MIN_VOTES], sizes[sizes >= MIN_VOTES], strict=True):
        yield order[begin : begin + size] % len(pair)


def similar_features(one: Fingerprint, other: Fingerprint, mirror: bool, basis: Basis) -> Indices:
    """(n, 2): all features of two photographs that match."""
    asked = basis.project(one.descriptors) * (basis.signs if mirror else 1)
    return np.argwhere(asked @ basis.project(other.descriptors).T >= SIMILAR)


def _bins(turn: Floats) -> Indices:
    """(n, 2): the two bins that an angle in radians votes for."""
    low = np.floor(turn / (2 * np.pi) * ANGLE_BINS).astype(np.int64)
    return np.stack([low, low + 1], axis=1) % ANGLE_BINS


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6), np.float32)


def _nearest(rows: Floats, centres: Floats, count: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """The nearest centres of each row, unordered, and their products: (n, `count`) each, or fewer columns."""
    count = min(count, len(centres))
    index = np.empty((len(rows), count), np.int32)
    value = np.empty((len(rows), count), np.float32)
    step = max(64, 8_000_000 // len(centres))
    for start in range(0, len(rows), step):
        near = rows[start : start + step] @ centres.T
        chosen = near.argmax(1)[:, None] if count == 1 else np.argpartition(near, -count, axis=1)[:, -count:]
        index[start : start + step] = chosen
        value[start : start + step] = np.take_along_axis(near, chosen, axis=1)
    return index, value
