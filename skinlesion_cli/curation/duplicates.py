"""Files that show one photograph: the same bytes, the same pixels, or a changed copy.

A changed copy has been resized, re-encoded, cropped, mirrored, rotated, sheared, recoloured, blurred, or has
noise added. Two photographs of one lesion are not copies: they share the lesion, but not the light and view.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from scipy.cluster.hierarchy import DisjointSet

from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.curation.alignment import Agreement, align
from skinlesion_cli.curation.families import Edge, cluster
from skinlesion_cli.curation.fingerprint import Fingerprint
from skinlesion_cli.curation.kept_fingerprints import KeptFingerprints, kept_fingerprint
from skinlesion_cli.curation.matching import Candidate, find_candidates
from skinlesion_cli.data.workers import map_files

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
    """Read photographs, and find those that show the same one (`find_pairs`), `near` also changed ones."""
    prints = []
    with KeptFingerprints(on_event, near=near) as kept:
        read = partial(kept_fingerprint, store=kept.path, near=near)
        for one in map_files(read, paths, workers, on_event):
            prints.append(one)
            kept.add(one)
    return find_pairs(prints, workers, on_event)


def find_pairs(prints: Sequence[Fingerprint], workers: int, on_event: OnEvent) -> list[Pair]:
    """Pairs of photographs that show the same one, ascending: enough to connect every family, not all."""
    pairs = list(_equal(prints))
    # Only the first of several equal files is compared with others.
    copies = {pair.b for pair in pairs}
    index = [i for i in range(len(prints)) if i not in copies]
    near = _near([prints[i] for i in index], workers, on_event)
    return sorted([*pairs, *(Pair(index[a], index[b], "near") for a, b in near)])


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


def _equal(prints: Sequence[Fingerprint]) -> Iterator[Pair]:
    """Each file with the first file of equal bytes, or else the first of equal pixels."""
    first: dict[bytes, int] = {}
    for i, one in enumerate(prints):
        same_bytes, same_pixels = (first.setdefault(key, i) for key in (one.bytes_digest, one.pixels_digest))
        if same_bytes != i:
            yield Pair(same_bytes, i, "bytes")
        elif same_pixels != i:
            yield Pair(same_pixels, i, "pixels")


def _near(prints: Sequence[Fingerprint], workers: int, on_event: OnEvent) -> list[Edge]:
    """The strongest pairs that connect each family of changed copies: a spanning tree per family."""
    candidates = find_candidates(prints, on_event=on_event)
    agreements: dict[Edge, Agreement] = {}
    for done, (candidate, agreement) in enumerate(_align_all(prints, candidates, workers), start=1):
        if agreement and _is_likely(agreement):
            agreements[min(candidate.a, candidate.b), max(candidate.a, candidate.b)] = agreement
        if done % 500 == 0 or done == len(candidates):
            on_event(ImagesDone("comparing pairs", done, len(candidates)))
    certain = [edge for edge, agreement in agreements.items() if _is_certain(agreement)]
    family = cluster(len(prints), certain, list(agreements))
    sets = DisjointSet(range(len(prints)))
    strongest_first = sorted(agreements, key=lambda edge: -agreements[edge].fine)
    return [(a, b) for a, b in strongest_first if family[a] == family[b] and sets.merge(a, b)]


def _align_all(
    prints: Sequence[Fingerprint], candidates: Sequence[Candidate], workers: int
) -> Iterator[tuple[Candidate, Agreement | None]]:
    parallel = workers > 1 and len(candidates) > BATCH
    with ProcessPoolExecutor(workers) if parallel else nullcontext() as pool:
        for start in range(0, len(candidates), BATCH):
            batch = candidates[start : start + BATCH]
            sides = [prints[one.a].sketch for one in batch], [prints[one.b].sketch for one in batch]
            results = pool.map(align, *sides, batch, chunksize=50) if pool else map(align, *sides, batch)
            yield from zip(batch, results, strict=True)
