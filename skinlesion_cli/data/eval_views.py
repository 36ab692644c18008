"""Evaluation views of image files, as batches of bytes that are prefetched while the model computes.

In threads, with Pillow and numpy only: Pillow releases the interpreter lock while it decodes and resizes, so
processes, which are slow to start, are not needed.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.data.images import centre_crop, read_image

BATCHES_AHEAD = 2
"""Number of prefetched batches: enough to keep the model busy, few enough to bound memory."""

_File = tuple[int, Path]


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
        """A view (3, side, side), or None if it is not cached yet."""

    def put(self, index: int, view: NDArray[np.uint8]) -> None:
        """Cache a view (3, side, side)."""


@dataclass(frozen=True)
class PartOfKept:
    """The cached views of some of the files, by their place among these."""

    whole: KeptViews
    indices: Sequence[int]
    """Of these files, among all."""

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """As in `KeptViews`."""
        return self.whole.get(self.indices[index])

    def put(self, index: int, view: NDArray[np.uint8]) -> None:
        """As in `KeptViews`."""
        self.whole.put(self.indices[index], view)


def view(image: Image.Image, img_size: int) -> NDArray[np.uint8]:
    """Evaluation view of an RGB picture: the bytes of its centre crop, (3, img_size, img_size)."""
    return np.asarray(centre_crop(image, img_size)).transpose(2, 0, 1)


def viewed_batches(
    paths: Sequence[Path],
    *,
    img_size: int,
    batch_size: int,
    workers: int,
    kept: KeptViews | None = None,
) -> Iterator[ViewedBatch]:
    """Yield the views of the files in their order; memory does not grow with their number.

    Args:
        paths: the files.
        img_size: side of a view, in pixels.
        batch_size: files per batch; the last one may be smaller.
        workers: threads that read; without any, and for a single file, the calling thread reads.
        kept: cache of the views of these files.
    """
    starts = range(0, len(paths), batch_size)
    files = list(enumerate(paths))
    if workers < 1 or len(paths) < 2:
        for start in starts:
            some = files[start : start + batch_size]
            images = _rows(len(some), img_size)
            faults = [_fill(row, file, kept) for row, file in zip(images, some, strict=True)]
            yield ViewedBatch(images, tuple(faults))
        return
    pool = ThreadPoolExecutor(min(workers, len(paths)), thread_name_prefix="views")
    try:
        ahead: deque[_Reading] = deque()
        for start in starts:
            ahead.append(_Reading(pool, files[start : start + batch_size], img_size, kept))
            if len(ahead) > BATCHES_AHEAD:
                yield ahead.popleft().finished()
        while ahead:
            yield ahead.popleft().finished()
    finally:
        # If the caller stops early, or on Ctrl-C, do not wait for the prefetched batches.
        pool.shutdown(cancel_futures=True)


class _Reading:
    """A batch that is being read, each file into its own row."""

    def __init__(
        self, pool: ThreadPoolExecutor, files: Sequence[_File], img_size: int, kept: KeptViews | None
    ):
        self._images = _rows(len(files), img_size)
        self._faults: list[Future[str]] = [
            pool.submit(_fill, row, file, kept) for row, file in zip(self._images, files, strict=True)
        ]

    def finished(self) -> ViewedBatch:
        """Wait for all files of the batch."""
        faults = tuple(fault.result() for fault in self._faults)
        return ViewedBatch(self._images, faults)


def _rows(count: int, img_size: int) -> NDArray[np.uint8]:
    return np.zeros((count, 3, img_size, img_size), np.uint8)


def _fill(row: NDArray[np.uint8], file: _File, kept: KeptViews | None) -> str:
    """Write a file's view into `row` (3, side, side); returns why it cannot be read, or an empty text."""
    index, path = file
    cached = kept.get(index) if kept is not None else None
    try:
        row[:] = view(read_image(path), row.shape[-1]) if cached is None else cached
    except UnreadableImageError as error:
        return str(error)
    if kept is not None and cached is None:
        kept.put(index, row)
    return ""
