"""Columns of a table as subgroups: text values as they are, numbers in named bins."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import quoted

UNKNOWN = "unknown"
"""The subgroup of the images without a value."""
AGES = (30, 50, 70)
MAX_VALUES = 50
"""Maximum number of different values of a column; more are names or dates, not subgroups."""
_FEW_NUMBERS = 7
"""Up to this many different whole numbers are categories, such as the six Fitzpatrick skin types."""


@dataclass(frozen=True)
class Partition:
    """A set of images in named subgroups."""

    names: tuple[str, ...]
    """In their natural order; UNKNOWN last."""
    labels: tuple[int, ...]
    """Index into `names`, for each image."""

    def members(self) -> Iterator[tuple[str, list[int]]]:
        """Each subgroup's name, and the indices of its images."""
        labels = np.array(self.labels)
        for label, name in enumerate(self.names):
            yield name, np.flatnonzero(labels == label).tolist()


def partition(column: str, cells: Sequence[str]) -> Partition:
    """The subgroups of a column with a text for each image, empty where it is unknown.

    Numbers are binned: ages (a column whose name has the word) at 30, 50 and 70 years, others at their
    quartiles. Texts that differ only in case are the same value. InputError if all are empty, or too many
    differ.
    """
    known = [cell for cell in cells if cell]
    if not known:
        raise InputError(f"--by {column}: none of the {len(cells)} images has a value")
    numbers = _numbers(known)
    if numbers is None:
        order, names = _texts(column, known)
    else:
        is_age = "age" in column.lower().replace("_", " ").split()
        edges = AGES if is_age else tuple(np.unique(np.quantile(numbers, [0.25, 0.5, 0.75])).tolist())
        titles = _age_titles(edges) if is_age else _quartile_titles(edges)
        # An age of 30 is in 30–49; a number at a quartile is in the lower quarter.
        places = np.searchsorted(edges, numbers, side="right" if is_age else "left")
        order = [title for place, title in enumerate(titles) if place in places]
        names = [titles[place] for place in places]
    index = {name: label for label, name in enumerate(order)}
    if len(known) < len(cells):
        index.setdefault(UNKNOWN, len(index))
    found = iter(names)
    labels = tuple(index[next(found) if cell else UNKNOWN] for cell in cells)
    return Partition(tuple(index), labels)


def _numbers(cells: Sequence[str]) -> list[float] | None:
    """The cells as numbers; None if one is not a number, or they are only a few whole numbers."""
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return None
    few = len(set(values)) <= _FEW_NUMBERS and all(value.is_integer() for value in values)
    return None if few or not all(map(math.isfinite, values)) else values


def _texts(column: str, cells: Sequence[str]) -> tuple[list[str], list[str]]:
    """The different texts in order, and that of each cell: of those that differ in case, the most common."""
    spelled: dict[str, str] = {}
    for cell, _ in Counter(cells).most_common():
        spelled.setdefault(cell.casefold(), cell)
    if len(spelled) > MAX_VALUES:
        raise InputError(
            f"--by {column}: it has {len(spelled)} different values, such as {quoted(cells[0])}; "
            f"subgroups are at most {MAX_VALUES}"
        )
    return sorted(spelled.values(), key=_natural), [spelled[cell.casefold()] for cell in cells]


def _natural(text: str) -> tuple[bool, float, str]:
    """Sorts whole numbers by their size, before texts."""
    return (False, float(text), text) if text.isdecimal() else (True, 0.0, text.casefold())


def _age_titles(edges: Sequence[int]) -> list[str]:
    between = [f"{low}–{high - 1}" for low, high in itertools.pairwise(edges)]
    return [f"under {edges[0]}", *between, f"{edges[-1]} and over"]


def _quartile_titles(edges: Sequence[float]) -> list[str]:
    between = [f"over {low:g}, to {high:g}" for low, high in itertools.pairwise(edges)]
    return [f"to {edges[0]:g}", *between, f"over {edges[-1]:g}"]
