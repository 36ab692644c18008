"""Families: files that show one photograph, put together from the evidence of pairs.

Copies of one photograph agree with most of their siblings, two photographs of one lesion with few of each
other's copies. So families are joined by average linkage (Sokal and Michener, 1958) and not by the best
pair: one pair that deceives does not join two large families.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

Edge = tuple[int, int]

JOINED = 0.6
"""Share of the pairs between two families that must be certain for the two to be one."""
LIKELY = 0.35
"""Share of the pairs between a family and a larger one that must be likely for the larger to take it in."""
LEAST_FAMILY = 3
"""Members of a family that takes others in."""
TIMES_LARGER = 2


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

    def families(self) -> list[list[int]]:
        """Sets of two or more, members ascending, in the order of their first members."""
        members: dict[int, list[int]] = {}
        for i in range(len(self._above)):
            members.setdefault(self.root(i), []).append(i)
        return [family for family in members.values() if len(family) > 1]


def cluster(n: int, certain: Sequence[Edge], likely: Sequence[Edge]) -> list[int]:
    """Give every file the number of its family.

    Args:
        n: number of files.
        certain: pairs that only copies of one photograph make, as a rule.
        likely: pairs that copies make, and now and then two photographs of one lesion; holds `certain` too.

    Returns:
        The family of each file; a file without siblings is a family of one.
    """
    return _absorbed(_cores(n, certain), likely)


def _cores(n: int, certain: Sequence[Edge]) -> list[int]:
    from scipy.cluster.hierarchy import average, fcluster
    from scipy.spatial.distance import squareform

    sets = DisjointSets(n)
    for a, b in certain:
        sets.join(a, b)
    edges: dict[int, list[Edge]] = {}
    for a, b in certain:
        edges.setdefault(sets.root(a), []).append((a, b))
    family = list(range(n))
    for members in sets.families():
        position = {file: place for place, file in enumerate(members)}
        distance = 1.0 - np.eye(len(members), dtype=np.float32)
        for a, b in edges[members[0]]:
            distance[position[a], position[b]] = distance[position[b], position[a]] = 0.0
        labels = fcluster(average(squareform(distance)), 1 - JOINED, "distance")
        first: dict[int, int] = {}
        for file, label in zip(members, labels, strict=True):
            family[file] = first.setdefault(int(label), file)
    return family


def _absorbed(family: list[int], likely: Iterable[Edge]) -> list[int]:
    """Small families go to the larger one that agrees with them most, until none moves."""
    edges = {(min(edge), max(edge)) for edge in likely}
    while True:
        size = Counter(family)
        agreeing: dict[int, Counter[int]] = {}
        for a, b in edges:
            small, large = sorted((family[a], family[b]), key=lambda one: (size[one], one))
            if small != large and size[large] >= max(LEAST_FAMILY, TIMES_LARGER * size[small]):
                agreeing.setdefault(small, Counter())[large] += 1
        home = {}
        for small, votes in agreeing.items():
            share, large = max((count / (size[small] * size[one]), one) for one, count in votes.items())
            if share >= LIKELY:
                home[small] = large
        if not home:
            return family
        # A family that takes others in stays where it is, this time.
        staying = set(home.values())
        family = [one if one in staying else home.get(one, one) for one in family]
