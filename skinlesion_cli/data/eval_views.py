"""Evaluation views of image files, as batches of bytes that are prefetched while the model computes.

Threads suffice, with Pillow and numpy only: Pillow releases the interpreter lock while it decodes and
resizes, so processes, which are slow to start, are not needed.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.paper import PAPER, Resize
from skinlesion_cli.data.framing import fitted
from skinlesion_cli.data.images import read_image

BATCHES_AHEAD = 2
"""Number of prefetched batches: enough to keep the model busy, few enough to bound memory."""


@dataclass(frozen=True)
class ViewedBatch:
    """Evaluation views of some files."""

    images: NDArray[np.uint8]
    """(n, 3, side, side); zeros for a file that cannot be read."""
    faults: tuple[str, ...]
    """(n,): why the file cannot be read, or an empty text."""

    @property
    def fault(self) -> str:
        """Why the first unreadable file cannot be read; an empty text if there is none."""
        return next(filter(None, self.faults), "")


class KeptViews(Protocol):
    """Cached views, by the index of their file."""

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """A view (3, side, side), uint8, or None if it is not cached yet."""

    def put(self, index: int, view: NDArray[np.uint8]) -> None:
        """Cache a view (3, side, side)."""


def view(image: Image.Image, img_size: int, resize: Resize = PAPER) -> NDArray[np.uint8]:
    """Evaluation view of an RGB picture: the bytes of its centre crop, (3, img_size, img_size)."""
    return np.asarray(fitted(image, img_size, resize)).transpose(2, 0, 1)


def viewed_batches(
    paths: Sequence[Path],
    *,
    img_size: int,
    batch_size: int,
    workers: int,
    resize: Resize = PAPER,
    kept: KeptViews | None = None,
    indices: Sequence[int] | None = None,
) -> Iterator[ViewedBatch]:
    """Yield the views of the files in their order; memory does not grow with their number.

    `workers` threads read; without any, and for a single file, the calling thread does. `indices` are those
    of the files in `kept`; None for 0, 1, …
    """
    places = range(len(paths)) if indices is None else indices
    pool = ThreadPoolExecutor(min(workers, len(paths))) if workers > 0 and len(paths) > 1 else None
    # The pool begins to read immediately; `map` reads only when its results are requested.
    read = map if pool is None else pool.map

    def begun(start: int) -> tuple[NDArray[np.uint8], Iterator[str]]:
        some = slice(start, start + batch_size)
        images = np.zeros((len(paths[some]), 3, img_size, img_size), np.uint8)
        return images, read(partial(_fill, kept, resize), images, places[some], paths[some])

    batches = map(begun, range(0, len(paths), batch_size))
    try:
        ahead = deque(itertools.islice(batches, BATCHES_AHEAD))
        while ahead:
            ahead.extend(itertools.islice(batches, 1))
            images, faults = ahead.popleft()
            yield ViewedBatch(images, tuple(faults))
    finally:
        # If the caller stops early, or on Ctrl-C, do not read the batches ahead.
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _fill(kept: KeptViews | None, resize: Resize, row: NDArray[np.uint8], index: int, path: Path) -> str:
    """Write a file's view into `row` (3, side, side); returns why it cannot be read, or an empty text."""
    try:
        cached = kept.get(index) if kept is not None else None
        row[:] = view(read_image(path), row.shape[-1], resize) if cached is None else cached
    except UnreadableImageError as error:
        return str(error)
    if kept is not None and cached is None:
        kept.put(index, row)
    return ""
