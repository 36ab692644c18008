"""Files that show one photograph: the same bytes, or the same pixels in another encoding."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from skinlesion_cli.core.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.core.images import read_image


@dataclass(frozen=True)
class Pair:
    """Two files, by their positions in the list that was searched; a < b."""

    a: int
    b: int
    kind: Literal["bytes", "pixels", "near"]


def find_duplicates(paths: Sequence[Path], *, workers: int = 1, on_event: OnEvent = ignore) -> list[Pair]:
    """Find files that show one photograph."""
    pairs = []
    first_bytes: dict[bytes, int] = {}
    first_pixels: dict[bytes, int] = {}
    for position, path in enumerate(paths):
        same_bytes = first_bytes.setdefault(hashlib.sha256(path.read_bytes()).digest(), position)
        pixels = np.asarray(read_image(path))
        key = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        same_pixels = first_pixels.setdefault(key, position)
        if same_bytes != position:
            pairs.append(Pair(same_bytes, position, "bytes"))
        elif same_pixels != position:
            pairs.append(Pair(same_pixels, position, "pixels"))
        on_event(ImagesDone("comparing", position + 1, len(paths)))
    return pairs


def families(n: int, pairs: Sequence[Pair]) -> list[list[int]]:
    """Join pairs that share a file; each family is sorted and has two members or more."""
    parent = list(range(n))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for pair in pairs:
        parent[root(pair.b)] = root(pair.a)
    members: dict[int, list[int]] = {}
    for one in range(n):
        members.setdefault(root(one), []).append(one)
    return sorted(family for family in members.values() if len(family) > 1)
