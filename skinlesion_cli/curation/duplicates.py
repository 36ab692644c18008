"""Files of a set that show one photograph: copies of its bytes, of its pixels, or changed copies.

A changed copy is resized, re-encoded, cropped, mirrored, turned, sheared, recoloured, blurred or noisy. Two
photographs of one lesion are no copies of each other: they share the lesion, not the light and the view.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.curation.alignment import Agreement, align
from skinlesion_cli.curation.families import DisjointSets, cluster
from skinlesion_cli.curation.fingerprint import Digests, Fingerprint, Sketch, digests, fingerprint
from skinlesion_cli.curation.matching import Candidate, candidates
from skinlesion_cli.data.workers import map_files

BATCH = 2000
"""Pairs that are handed to the processes at once: what waits is held in memory."""

# What copies reach, as measured by tests/benchmarks/near_duplicates.py. A second photograph of a lesion
# shows another view (the shares) in another light (the shading); the more features agree, the less view is
# needed.
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


@dataclass(frozen=True)
class Pair:
    """Two files, by their index (`a` < `b`), that show one photograph, and how they do."""

    a: int
    b: int
    kind: Literal["bytes", "pixels", "near"]


def find_duplicates(
    paths: Sequence[Path], *, near: bool = True, workers: int = 1, on_event: OnEvent = ignore
) -> list[Pair]:
    """Find the files that show one photograph.

    The pairs are evidence enough to join every family that was found, not all pairs inside it.

    Args:
        paths: the photographs.
        near: look for changed copies as well; without, only copies of bytes and of pixels are found.
        workers: processes that read and compare.
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
    # One of several equal files stands for all.
    alone = [i for i in range(len(read)) if sets.root(i) == i]
    prints = [one for one in (read[i] for i in alone) if isinstance(one, Fingerprint)]
    pairs += [Pair(alone[a], alone[b], "near") for a, b in _near(prints, workers, on_event)]
    return sorted(pairs, key=lambda pair: (pair.a, pair.b))


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
    return sets.families()


def is_certain(agreement: Agreement) -> bool:
    """Whether two photographs agree as only copies of one do, as a rule."""
    needed = CERTAIN_SHARE_OF_MANY if agreement.inliers >= MANY_INLIERS else CERTAIN_SHARE
    if agreement.shading <= SAME_LIGHT:
        needed = CERTAIN_SHARE_IN_SAME_LIGHT
    return (
        agreement.shares[0] >= needed
        and agreement.fine >= CERTAIN_FINE
        and agreement.coarse >= CERTAIN_COARSE
        and agreement.stretch <= MAX_STRETCH
    )


def is_likely(agreement: Agreement) -> bool:
    """Whether two photographs agree as copies do, and now and then two photographs of one lesion."""
    return (
        agreement.shares[1] >= LIKELY_SHARE
        and agreement.fine >= LIKELY_FINE
        and agreement.stretch <= LIKELY_STRETCH
    )


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


def _near(prints: Sequence[Fingerprint], workers: int, on_event: OnEvent) -> list[tuple[int, int]]:
    """The strongest pairs that hold the families of changed copies together, a tree for each."""
    found = candidates(
        prints, on_done=lambda done: on_event(ImagesDone("looking for matches", done, len(prints)))
    )
    agreements: dict[tuple[int, int], Agreement] = {}
    for done, (candidate, agreement) in enumerate(_aligned(prints, found, workers), start=1):
        if agreement and is_likely(agreement):
            agreements[min(candidate.a, candidate.b), max(candidate.a, candidate.b)] = agreement
        if done % 500 == 0 or done == len(found):
            on_event(ImagesDone("comparing pairs", done, len(found)))
    certain = [edge for edge, agreement in agreements.items() if is_certain(agreement)]
    family = cluster(len(prints), certain, list(agreements))
    tree, sets = [], DisjointSets(len(prints))
    for a, b in sorted(agreements, key=lambda edge: -agreements[edge].fine):
        if family[a] == family[b] and sets.root(a) != sets.root(b):
            sets.join(a, b)
            tree.append((a, b))
    return tree


def _aligned(
    prints: Sequence[Fingerprint], found: Sequence[Candidate], workers: int
) -> Iterator[tuple[Candidate, Agreement | None]]:
    with ProcessPoolExecutor(workers) if workers > 1 and len(found) > BATCH else nullcontext() as pool:
        for start in range(0, len(found), BATCH):
            batch = found[start : start + BATCH]
            ones: list[Sketch] = [prints[candidate.a].sketch for candidate in batch]
            others = [prints[candidate.b].sketch for candidate in batch]
            if pool:
                yield from zip(batch, pool.map(align, ones, others, batch, chunksize=50), strict=True)
            else:
                yield from zip(batch, map(align, ones, others, batch), strict=True)
