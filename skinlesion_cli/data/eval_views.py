"""What the model sees of files in evaluation, as batches of bytes that are read ahead of the model.

Only Pillow and numpy, in threads: Pillow lets other threads run while it decodes and resizes, so the next
batches are read while the model works on one, without the cost of starting processes.
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
"""Batches that are read while the model works on one: enough to keep it fed, few enough to bound memory."""

_File = tuple[int, Path]


@dataclass(frozen=True)
class ViewedBatch:
    """Evaluation views of some files; `faults` tells of those that could not be read."""

    images: NDArray[np.uint8]
    """(n, 3, side, side); zeros where the file could not be read."""
    faults: tuple[str, ...]
    """(n,): empty text, or why the file could not be read."""

    @property
    def fault(self) -> str:
        """Why the first of those could not be read; an empty text where all could."""
        return next(filter(None, self.faults), "")


class KeptViews(Protocol):
    """Views that were read before, by the index of their file."""

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """A view (3, side, side), or None where it is not kept yet."""

    def put(self, index: int, view: NDArray[np.uint8]) -> None:
        """Keep a view (3, side, side)."""


@dataclass(frozen=True)
class PartOfKept:
    """The kept views of some of the files, by their place among these."""

    whole: KeptViews
    indices: Sequence[int]
    """Of these files among all."""

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """As in `KeptViews`."""
        return self.whole.get(self.indices[index])

    def put(self, index: int, view: NDArray[np.uint8]) -> None:
        """As in `KeptViews`."""
        self.whole.put(self.indices[index], view)


def view(image: Image.Image, img_size: int) -> NDArray[np.uint8]:
    """Evaluation's view of an RGB picture: the bytes of its centre crop, (3, img_size, img_size)."""
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
        batch_size: files a batch; the last one may be smaller.
        workers: threads that read; with none, and for a single file, the calling thread reads.
        kept: views of these files from an earlier pass, and where to keep those of this one.
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
        # A reader that stops early, or Ctrl-C, does not wait for batches that nobody will take.
        pool.shutdown(cancel_futures=True)


class _Reading:
    """A batch whose files are being read, each into its own row."""

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
    """Write the view of a file into `row`, (3, side, side); returns an empty text or the fault."""
    index, path = file
    try:
        known = kept.get(index) if kept is not None else None
        row[:] = view(read_image(path), row.shape[-1]) if known is None else known
    except UnreadableImageError as error:
        return str(error)
    if kept is not None and known is None:
        kept.put(index, row)
    return ""
