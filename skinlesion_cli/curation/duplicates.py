"""Files that show one photograph: the same bytes, the same pixels, or a changed copy.

A changed copy has been resized, re-encoded, cropped, mirrored, rotated, sheared, recoloured, blurred, or has
noise added. Two photographs of one lesion are not copies: they share the lesion, but not the light and view.
"""

import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.curation.alignment import Agreement, align
from skinlesion_cli.curation.families import Edge, cluster
from skinlesion_cli.curation.fingerprint import Fingerprint, strongest
from skinlesion_cli.curation.kept_fingerprints import KeptFingerprints, kept_fingerprint
from skinlesion_cli.curation.matching import Basis, Candidate, FeatureIndex, similar_features
from skinlesion_cli.data.workers import map_files, process_pool

BATCH = 2000
"""Pairs submitted to the worker processes at once; what waits is held in memory."""

# Thresholds that copies reach, as measured by tests/benchmarks/near_duplicates.py. A second photograph of a
# lesion shows another view (shares) in another light (shading); the more features agree, the smaller the
# common view may be.
MAX_STRETCH = 1.6
CERTAIN_FINE = 0.8
CERTAIN_COARSE = 0.5
CERTAIN_SHARE = 0.83
MANY_INLIERS = 22
CERTAIN_SHARE_OF_MANY = 0.72
SAME_LIGHT = 1.0
CERTAIN_SHARE_IN_SAME_LIGHT = 0.45
LIKELY_FINE = 0.65
LIKELY_SHARE = 0.45
LIKELY_STRETCH = 1.8


class Pair(NamedTuple):
    """Two files that show one photograph, by their indices (`a` < `b`)."""

    a: int
    b: int
    kind: Literal["bytes", "pixels", "near"]


def find_duplicates(
    paths: Sequence[Path], *, near: bool = True, workers: int = 1, on_event: OnEvent = ignore
) -> list[Pair]:
    """Read photographs, and find those that show the same one, `near` also changed ones.

    The pairs ascend; there are enough to connect every family, not all.
    """
    with DuplicateSearch(near, workers, on_event) as search:
        read = partial(kept_fingerprint, store=search.store, near=near)
        for path, one in zip(paths, map_files(read, paths, workers, on_event), strict=True):
            search.add(path, one)
        return search.pairs()


class DuplicateSearch:
    """A context that takes the fingerprints of photographs in turn, and then finds the pairs among them."""

    def __init__(self, near: bool, workers: int, on_event: OnEvent):
        self._workers, self._on_event = workers, on_event
        self._resources = ExitStack()
        # Fingerprints of another search may be those of files that have changed since.
        self._resources.callback(_recent.cache_clear)
        self._kept = self._resources.enter_context(KeptFingerprints(on_event, near=near))
        self.store = self._kept.path
        """Where `kept_fingerprint` finds the fingerprints of an earlier search."""
        self._paths: list[Path] = []
        self._first: dict[bytes, int] = {}
        self._equal: list[Pair] = []
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="skinlesion-features-"))
        self._index = FeatureIndex(Path(folder))
        self._resources.callback(self._index.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def add(self, path: Path, one: Fingerprint) -> None:
        """Take the next photograph."""
        number = len(self._paths)
        self._paths.append(path)
        self._kept.add(one)
        keys = one.bytes_digest, one.pixels_digest
        same_bytes, same_pixels = (self._first.setdefault(key, number) for key in keys)
        if same_bytes != number:
            self._equal.append(Pair(same_bytes, number, "bytes"))
        elif same_pixels != number:
            self._equal.append(Pair(same_pixels, number, "pixels"))
        # Only the first of several equal files is compared with others.
        self._index.add(one if same_bytes == same_pixels == number else None)

    def pairs(self) -> list[Pair]:
        """Pairs of photographs that show the same one, ascending: enough to connect every family, not all."""
        self._kept.commit()
        candidates = self._index.candidates(self._workers, self._on_event)
        agreements: dict[Edge, Agreement] = {}
        for done, (candidate, agreement) in enumerate(self._aligned(candidates), start=1):
            if agreement and _is_likely(agreement):
                agreements[candidate.edge] = agreement
            if done % 500 == 0 or done == len(candidates):
                self._on_event(ImagesDone("comparing pairs", done, len(candidates)))
        near = _spanning(len(self._paths), agreements)
        return sorted([*self._equal, *(Pair(a, b, "near") for a, b in near)])

    def _aligned(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Agreement | None]]:
        if self._index.basis is None:
            return
        compare = partial(_compare_files, self._index.basis, self.store)
        with process_pool(self._workers if len(candidates) > BATCH else 1) as pool:
            for start in range(0, len(candidates), BATCH):
                batch = candidates[start : start + BATCH]
                sides = [self._paths[one.a] for one in batch], [self._paths[one.b] for one in batch]
                results = (
                    pool.map(compare, *sides, batch, chunksize=50) if pool else map(compare, *sides, batch)
                )
                yield from zip(batch, results, strict=True)


def _compare_files(
    basis: Basis, store: Path | None, path: Path, other: Path, candidate: Candidate
) -> Agreement | None:
    one, two = _recent(path, store), _recent(other, store)
    sides = zip((one, two), candidate.matches.T, strict=True)
    found = np.stack([strongest(side.sketch.points)[rows] for side, rows in sides], axis=1)
    similar = similar_features(one, two, candidate.mirror, basis)
    return align(one.sketch, two.sketch, found, similar, candidate.mirror)


@functools.lru_cache(maxsize=1000)
def _recent(path: Path, store: Path | None) -> Fingerprint:
    return kept_fingerprint(path, store)


def _spanning(n: int, agreements: Mapping[Edge, Agreement]) -> list[Edge]:
    """The strongest pairs that connect each family of changed copies: a spanning tree per family."""
    certain = [edge for edge, agreement in agreements.items() if _is_certain(agreement)]
    family = cluster(n, certain, list(agreements))
    sets = DisjointSet(range(n))
    strongest_first = sorted(agreements, key=lambda edge: -agreements[edge].fine)
    return [(a, b) for a, b in strongest_first if family[a] == family[b] and sets.merge(a, b)]


def _is_certain(agreement: Agreement) -> bool:
    """Whether two photographs agree as only copies of one photograph do, as a rule."""
    share = CERTAIN_SHARE_OF_MANY if agreement.inliers >= MANY_INLIERS else CERTAIN_SHARE
    if agreement.shading <= SAME_LIGHT:
        share = CERTAIN_SHARE_IN_SAME_LIGHT
    return (
        agreement.shares[0] >= share
        and agreement.fine >= CERTAIN_FINE
        and agreement.coarse >= CERTAIN_COARSE
        and agreement.stretch <= MAX_STRETCH
    )


def _is_likely(agreement: Agreement) -> bool:
    """Whether two photographs agree as copies do, and sometimes two photographs of one lesion."""
    return (
        agreement.shares[1] >= LIKELY_SHARE
        and agreement.fine >= LIKELY_FINE
        and agreement.stretch <= LIKELY_STRETCH
    )
