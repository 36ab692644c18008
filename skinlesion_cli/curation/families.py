"""Families of files that show one photograph, built from pairs.

A copy of a photograph matches most of its other copies; of the copies of two photographs of one lesion, only
few pairs match. Families are therefore merged by average linkage (Sokal and Michener, 1958), not by their
best
pair: one false pair does not merge two large families.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.cluster.hierarchy import DisjointSet, average, fcluster
from scipy.spatial.distance import squareform

Edge = tuple[int, int]

MIN_CERTAIN = 0.6
"""Share of the pairs between two families that must be certain for the two to be merged."""
MIN_LIKELY = 0.35
"""Share of the pairs between a family and a larger one that must be likely for the larger to absorb it."""
MIN_ABSORBING_SIZE = 3
"""Members that a family needs to absorb others."""
MIN_SIZE_RATIO = 2
"""How many times larger the absorbing family must be."""


def connected_components(n: int, edges: Iterable[Edge]) -> list[list[int]]:
    """Sets of two or more indices below `n` that edges connect: each sorted, ordered by their first index."""
    sets = DisjointSet(range(n))
    for a, b in edges:
        sets.merge(a, b)
    return sorted(sorted(members) for members in sets.subsets() if len(members) > 1)


def merge_names(names: Sequence[str], edges: Iterable[Edge]) -> list[str]:
    """The first name of each item's component; equal names and edges (pairs of indices) connect items."""
    sets = DisjointSet(names)
    for a, b in edges:
        sets.merge(names[a], names[b])
    first: dict[str, str] = {}
    return [first.setdefault(sets[name], name) for name in names]


def cluster(n: int, certain: Sequence[Edge], likely: Sequence[Edge]) -> list[int]:
    """The family of each of `n` files, numbered by one of its members; without copies, a family of one.

    As a rule, only copies of one photograph are `certain` pairs; two photographs of one lesion are sometimes
    `likely`, which includes the certain ones.
    """
    return _absorb(_merge(n, certain), likely)


def _merge(n: int, certain: Sequence[Edge]) -> list[int]:
    neighbours = defaultdict(list)
    for a, b in certain:
        neighbours[a].append(b)
        neighbours[b].append(a)
    family = list(range(n))
    for members in connected_components(n, certain):
        position = {file: index for index, file in enumerate(members)}
        distance = 1.0 - np.eye(len(members), dtype=np.float32)
        for file in members:
            distance[position[file], [position[other] for other in neighbours[file]]] = 0.0
        labels = fcluster(average(squareform(distance)), 1 - MIN_CERTAIN, "distance")
        first: dict[int, int] = {}
        for file, label in zip(members, labels.tolist(), strict=True):
            family[file] = first.setdefault(label, file)
    return family


def _absorb(family: list[int], likely: Iterable[Edge]) -> list[int]:
    """Move small families to the larger one that matches them best, until none moves."""
    edges = {(min(edge), max(edge)) for edge in likely}
    while True:
        size = Counter(family)
        matches: dict[int, Counter[int]] = defaultdict(Counter)
        for a, b in edges:
            small, large = sorted((family[a], family[b]), key=lambda one: (size[one], one))
            if small != large and size[large] >= max(MIN_ABSORBING_SIZE, MIN_SIZE_RATIO * size[small]):
                matches[small][large] += 1
        target = {}
        for small, votes in matches.items():
            share, large = max((count / (size[small] * size[one]), one) for one, count in votes.items())
            if share >= MIN_LIKELY:
                target[small] = large
        if not target:
            return family
        # A family that absorbs others does not move in the same round.
        absorbing = set(target.values())
        family = [one if one in absorbing else target.get(one, one) for one in family]
