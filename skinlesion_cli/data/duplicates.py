"""Files of a set that show one photograph: copies of its bytes, of its pixels, or changed copies.

A changed copy is resized, re-encoded, cropped, mirrored, turned, sheared, recoloured, blurred or noisy. Two
photographs of one lesion are no copies of each other: they share the lesion, not the light and the hairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skinlesion_cli.core.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.core.workers import map_files
from skinlesion_cli.data.alignment import Agreement, align
from skinlesion_cli.data.fingerprint import Digests, Fingerprint, digests, fingerprint
from skinlesion_cli.data.matching import candidates

# What a changed copy has to reach; measured by tests/benchmarks/near_duplicates.py.
MIN_OVERLAP = 0.45
MIN_FINE = 0.8
MIN_COARSE = 0.5
MAX_STRETCH = 1.6


@dataclass(frozen=True)
class Pair:
    """Two files, by their index (`a` < `b`), that show one photograph, and how they do."""

    a: int
    b: int
    kind: Literal["bytes", "pixels", "near"]


def find_duplicates(
    paths: Sequence[Path], *, near: bool = False, workers: int = 1, on_event: OnEvent = ignore
) -> list[Pair]:
    """Find the files that show one photograph.

    The pairs are evidence enough to join every family that was found, not all pairs inside it: a file is
    compared no further once it stands in the other's family.

    Args:
        paths: the photographs.
        near: look for changed copies as well; slower, and two photographs of one lesion may pass for copies.
        workers: processes that read them.
        on_event: is told of the progress.

    Raises:
        UnreadableImageError: one of them cannot be read.
    """
    read: list[Digests] = []
    for one in map_files(fingerprint if near else digests, paths, workers):
        read.append(one)
        on_event(ImagesDone("looking for copies", len(read), len(paths)))
    sets = DisjointSets(len(read))
    pairs = _same(read, sets)
    prints = [one for one in read if isinstance(one, Fingerprint)]
    if prints:
        pairs += _near(prints, sets, on_event)
    return sorted(pairs, key=lambda pair: (pair.a, pair.b))


def _near(prints: Sequence[Fingerprint], sets: "DisjointSets", on_event: OnEvent) -> list[Pair]:
    """Pairs of a photograph and a changed copy, between files that no other pair joins."""
    pairs = []
    # One of several equal files stands for all.
    alone = [i for i in range(len(prints)) if sets.root(i) == i]
    listed = list(candidates([prints[i] for i in alone]))
    for done, candidate in enumerate(listed, start=1):
        a, b = alone[candidate.a], alone[candidate.b]
        if sets.root(a) != sets.root(b):
            agreement = align(prints[a], prints[b], candidate)
            if agreement and is_copy(agreement):
                pairs.append(Pair(a, b, "near"))
                sets.join(a, b)
        if done % 1000 == 0 or done == len(listed):
            on_event(ImagesDone("comparing", done, len(listed)))
    return pairs


def is_copy(agreement: Agreement) -> bool:
    """Whether two photographs agree as only copies do."""
    return (
        agreement.overlap >= MIN_OVERLAP
        and agreement.stretch <= MAX_STRETCH
        and agreement.fine >= MIN_FINE
        and agreement.coarse >= MIN_COARSE
    )


def families(n: int, pairs: Sequence[Pair]) -> list[list[int]]:
    """Files joined by pairs, directly or through others.

    Args:
        n: number of files.
        pairs: indices below `n`.

    Returns:
        Families of two or more, members ascending, in the order of their first members.
    """
    sets = DisjointSets(n)
    for pair in pairs:
        sets.join(pair.a, pair.b)
    members: dict[int, list[int]] = {}
    for i in range(n):
        members.setdefault(sets.root(i), []).append(i)
    return [family for family in members.values() if len(family) > 1]


class DisjointSets:
    """Disjoint sets of indices; the root is the smallest member."""

    def __init__(self, n: int) -> None:
        self._above = list(range(n))

    def root(self, i: int) -> int:
        """The smallest index that is joined with `i`."""
        while self._above[i] != i:
            self._above[i] = self._above[self._above[i]]
            i = self._above[i]
        return i

    def join(self, a: int, b: int) -> None:
        """Make one set of the two that hold `a` and `b`."""
        low, high = sorted((self.root(a), self.root(b)))
        self._above[high] = low


def _same(prints: Sequence[Digests], sets: DisjointSets) -> list[Pair]:
    """Pairs of equal bytes or equal pixels, each file with the first of its kind."""
    pairs = []
    by_bytes: dict[bytes, int] = {}
    by_pixels: dict[bytes, int] = {}
    for i, image in enumerate(prints):
        twin = by_bytes.setdefault(image.bytes_digest, i)
        alike = by_pixels.setdefault(image.pixels_digest, i)
        if twin != i:
            pairs.append(Pair(twin, i, "bytes"))
            sets.join(twin, i)
        elif alike != i:
            pairs.append(Pair(alike, i, "pixels"))
            sets.join(alike, i)
    return pairs
