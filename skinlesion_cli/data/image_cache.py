"""Images of a run, shrunken once: decoding a photograph at full size is left to the first epoch.

An image is the same with and without a cache, so a cache changes the speed of a run and nothing else.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich import filesize
from torch.nn import functional

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import user_cache_folder
from skinlesion_cli.common.paper import SHRINK_RATIO
from skinlesion_cli.data.images import read_image, upright_size

RULE = "2"
"""Part of a cache file's name; to be raised when what lies in it changes."""

# What `auto` may take of what is free.
SHARE_OF_MEMORY = 0.25
SHARE_OF_DISK = 0.5


class ShrunkPictures:
    """The pictures that random crops are taken from: (3, height, width), uint8."""

    def __init__(self, paths: Sequence[Path], img_size: int, cache: "ImageCache | None"):
        self._paths = paths
        self._shorter = shorter_side(img_size)
        self._cache = cache

    def __getitem__(self, index: int) -> torch.Tensor:
        """Raises UnreadableImageError where the file cannot be read."""
        kept = self._cache.get(index) if self._cache is not None else None
        if kept is None:
            kept = self._read(self._paths[index])
            if self._cache is not None:
                self._cache.put(index, kept)
        return kept.permute(2, 0, 1)

    def _read(self, path: Path) -> torch.Tensor:
        """(height, width, 3)."""
        pixels = torch.from_numpy(np.array(read_image(path, shorter=self._shorter)))
        height, width = shrunk_size(pixels.shape[1], pixels.shape[0], self._shorter)[::-1]
        if (height, width) == tuple(pixels.shape[:2]):
            return pixels
        picture = pixels.permute(2, 0, 1)[None]
        # Bilinear, with the crop's own bilinear resizing after it, would take a fifth of the fine detail.
        small = functional.interpolate(picture, (height, width), mode="bicubic", antialias=True)[0]
        return small.permute(1, 2, 0).contiguous()


def shorter_side(img_size: int) -> int:
    """Length that the shorter side of a large picture is brought down to, in pixels."""
    return round(SHRINK_RATIO * img_size)


def shrunk_size(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Width and height of a picture whose shorter side is brought down to `shorter`; small ones stay."""
    scale = shorter / min(width, height)
    if scale >= 1:
        return width, height
    return (shorter, round(height * scale)) if width <= height else (round(width * scale), shorter)


def needed_bytes(sizes: Sequence[tuple[int, int]]) -> int:
    """Size of the cache of pictures of these (width, height)."""
    return len(sizes) + sum(3 * width * height for width, height in sizes)


class ImageCache:
    """Room for the shrunken pictures of one split, shared by all processes of a run.

    Make one with `open_cache`. In the buffer, one byte a picture tells whether it is there; then the pixels.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], path: Path | None):
        """Lay out the pictures.

        Args:
            sizes: (width, height) of each.
            path: a file of `needed_bytes(sizes)` bytes, or None for shared memory.
        """
        self.path = path
        self._sizes = sizes
        self._starts = len(sizes) + np.concatenate([[0], np.cumsum([3 * w * h for w, h in sizes])])
        self._buffer = self._mapped() if path is not None else _shared(needed_bytes(sizes))

    def _mapped(self) -> torch.Tensor:
        return torch.from_file(str(self.path), shared=True, size=needed_bytes(self._sizes), dtype=torch.uint8)

    def __getstate__(self) -> dict[str, Any]:
        # A worker that was not forked maps the file itself; torch would copy it into shared memory.
        return {name: value for name, value in vars(self).items() if self.path is None or name != "_buffer"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.path is not None:
            self._buffer = self._mapped()

    def get(self, index: int) -> torch.Tensor | None:
        """A picture (height, width, 3), or None where it is not kept yet. Not to be changed."""
        return self._place(index) if self._buffer[index] else None

    def put(self, index: int, picture: torch.Tensor) -> None:
        """Keep a picture; one whose file has changed its size since the cache was laid out is not kept."""
        place = self._place(index)
        if picture.shape == place.shape:
            place.copy_(picture)
            self._buffer[index] = 1

    def _place(self, index: int) -> torch.Tensor:
        width, height = self._sizes[index]
        return self._buffer[self._starts[index] : self._starts[index + 1]].view(height, width, 3)


class CachedViews:
    """Evaluation views in an `ImageCache`: what `viewed_batches` takes as `kept`."""

    def __init__(self, cache: ImageCache):
        self._cache = cache

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """A view (3, side, side), or None where it is not kept yet. Not to be changed."""
        kept = self._cache.get(index)
        return None if kept is None else kept.permute(2, 0, 1).numpy()

    def put(self, index: int, view: NDArray[np.uint8]) -> None:
        """Keep a view (3, side, side)."""
        self._cache.put(index, torch.from_numpy(view).permute(1, 2, 0))


def open_views(kind: str, paths: Sequence[Path], img_size: int) -> tuple[CachedViews | None, str]:
    """Make or find the cache of a split's evaluation views; like `open_cache`."""
    cache, place = _opened(kind, paths, [(img_size, img_size)] * len(paths), f"views-{img_size}")
    return (None if cache is None else CachedViews(cache)), place


def open_cache(
    kind: str, paths: Sequence[Path], img_size: int, *, copies: int = 1
) -> tuple[ImageCache | None, str]:
    """Make or find the cache of a split's shrunken pictures.

    Args:
        kind: off, disk, ram, or auto: memory where a quarter of what is free is enough, else a file where
            half of the free disk is, else none.
        paths: the split's images.
        img_size: side of the model's input.
        copies: processes of this machine that each hold one, where it lies in memory.

    Returns:
        The cache, and its place and size, for people.

    Raises:
        InputError: there is no room for what was asked.
        UnreadableImageError: an image's head cannot be read.
    """
    if kind == "off":
        return None, "off"
    shorter = shorter_side(img_size)
    sizes = [shrunk_size(*upright_size(path, shorter=shorter), shorter) for path in paths]
    return _opened(kind, paths, sizes, str(img_size), copies)


def _opened(
    kind: str, paths: Sequence[Path], sizes: Sequence[tuple[int, int]], what: str, copies: int = 1
) -> tuple[ImageCache | None, str]:
    if kind == "off":
        return None, "off"
    needed = needed_bytes(sizes)
    folder = user_cache_folder() / "images"
    if kind == "auto":
        kind = _best_kind(needed, folder, copies)
    text = filesize.decimal(needed)
    if kind == "off":
        return None, f"off, there is no room for {text}"
    if kind == "ram":
        if copies * needed > _free_memory():
            times = f"{copies} times " if copies > 1 else ""
            raise InputError(
                f"--cache ram needs {times}{text} of shared memory; use --cache disk or --cache off"
            )
        return ImageCache(sizes, None), f"memory, {text}"
    path = _reserved(folder, paths, what, needed, text)
    return ImageCache(sizes, path), f"{path}, {text}"


def _best_kind(needed: int, folder: Path, copies: int) -> str:
    if copies * needed <= SHARE_OF_MEMORY * _free_memory():
        return "ram"
    return "disk" if needed <= SHARE_OF_DISK * _free_disk(folder) else "off"


def _free_memory() -> int:
    """Bytes that processes can share, by the system's own count; 0 where it gives none."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        shared = Path("/dev/shm")
        return min(free, shutil.disk_usage(shared).free) if shared.is_dir() else free
    except (OSError, ValueError, AttributeError):
        return 0


def _free_disk(folder: Path) -> int:
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    return shutil.disk_usage(there).free


def _shared(size: int) -> torch.Tensor:
    # Zeros, and pages that nobody has written to take no memory.
    storage = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage, 0, (size,))  # type: ignore[call-overload, no-any-return, unused-ignore]


def _reserved(folder: Path, paths: Sequence[Path], what: str, needed: int, text: str) -> Path:
    """The cache file of these images, of its full size; those of an earlier state of them are removed."""
    state = hashlib.sha256(f"{RULE} {what}\n".encode())
    for path in paths:
        stat = path.stat()
        state.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    home = hashlib.sha256(os.fsencode(os.path.commonpath([path.resolve() for path in paths]))).hexdigest()[
        :16
    ]
    path = folder / f"{home}-{what}-{state.hexdigest()[:16]}.bin"
    if path.is_file() and path.stat().st_size == needed:
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{home}-{what}-*.bin"):
            old.unlink()
        if needed > _free_disk(folder):
            raise OSError("the disk has no room")
        with path.open("wb") as file:
            # Reserved, not only claimed: a full disk would kill the process that writes to a mapped page.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, needed)
            else:
                file.truncate(needed)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(f"--cache disk needs {text} in {folder}: {error}; use --cache off") from None
    return path
