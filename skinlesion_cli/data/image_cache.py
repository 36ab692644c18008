"""Caches of decoded images: the training pictures, shrunk once, and the evaluation views of validation.

A cached image equals the one made from its file, so a cache changes the speed of a run and nothing else.
"""

import hashlib
import mmap
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich import filesize
from torch.nn import functional

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import user_cache_folder
from skinlesion_cli.data.images import read_image, upright_size
from skinlesion_cli.data.screening import ImageFacts, shorter_side

RULE = "2"
"""Part of a cache file's name; to be raised when the layout or the pixels change."""

# Maximum share of the free memory and disk space that `auto` takes.
SHARE_OF_MEMORY = 0.25
SHARE_OF_DISK = 0.5


class ShrunkPictures:
    """The pictures that random crops are taken from: (3, height, width), uint8."""

    def __init__(self, paths: Sequence[Path], img_size: int, cache: "ImageCache | None"):
        self._paths = paths
        self._shorter = shorter_side(img_size)
        self._cache = cache

    def __getitem__(self, index: int) -> torch.Tensor:
        """Raises UnreadableImageError if the file cannot be read."""
        cached = self._cache.get(index) if self._cache is not None else None
        if cached is None:
            cached = self._read(self._paths[index])
            if self._cache is not None:
                self._cache.put(index, cached)
        return cached.permute(2, 0, 1)

    def _read(self, path: Path) -> torch.Tensor:
        """(height, width, 3)."""
        pixels = torch.from_numpy(np.array(read_image(path, shorter=self._shorter)))
        height, width = shrunk_size(pixels.shape[1], pixels.shape[0], self._shorter)[::-1]
        if (height, width) == tuple(pixels.shape[:2]):
            return pixels
        picture = pixels.permute(2, 0, 1)[None]
        # Bilinear shrinking before the crop's own bilinear resizing would lose a fifth of the fine detail.
        small = functional.interpolate(picture, (height, width), mode="bicubic", antialias=True)[0]
        return small.permute(1, 2, 0).contiguous()


def shrunk_size(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Width and height after shrinking the shorter side to `shorter`; smaller pictures stay as they are."""
    scale = shorter / min(width, height)
    if scale >= 1:
        return width, height
    return (shorter, round(height * scale)) if width <= height else (round(width * scale), shorter)


def needed_bytes(sizes: Sequence[tuple[int, int]]) -> int:
    """Size of the cache of pictures of these (width, height)."""
    return len(sizes) + sum(3 * width * height for width, height in sizes)


class ImageCache:
    """A buffer for the pictures of one split, shared by all processes of a run. Make one with `open_cache`.

    It begins with one byte per picture, which says whether the picture is cached; the pixels follow.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], path: Path | None):
        """Lay out the buffer.

        Args:
            sizes: (width, height) of each picture.
            path: a file of `needed_bytes(sizes)` bytes; None for shared memory.
        """
        self.path = path
        self._sizes = sizes
        self._starts = len(sizes) + np.concatenate([[0], np.cumsum([3 * w * h for w, h in sizes])])
        self._buffer = self._mapped() if path is not None else _shared_memory(needed_bytes(sizes))

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
        """A picture (height, width, 3), or None if it is not cached yet. Do not change it."""
        return self._place(index) if self._buffer[index] else None

    def put(self, index: int, picture: torch.Tensor) -> None:
        """Cache a picture, unless its file has changed its size since the buffer was laid out."""
        place = self._place(index)
        if picture.shape == place.shape:
            place.copy_(picture)
            self._buffer[index] = 1

    def _place(self, index: int) -> torch.Tensor:
        width, height = self._sizes[index]
        return self._buffer[self._starts[index] : self._starts[index + 1]].view(height, width, 3)


class CachedViews:
    """Evaluation views in an `ImageCache`: the `kept` argument of `viewed_batches`."""

    def __init__(self, cache: ImageCache):
        self._cache = cache

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """A view (3, side, side), or None if it is not cached yet. Do not change it."""
        cached = self._cache.get(index)
        return None if cached is None else cached.permute(2, 0, 1).numpy()

    def put(self, index: int, view: NDArray[np.uint8]) -> None:
        """Cache a view (3, side, side)."""
        self._cache.put(index, torch.from_numpy(view).permute(1, 2, 0))


def open_views(
    kind: str, paths: Sequence[Path], img_size: int, *, facts: Mapping[Path, ImageFacts] | None = None
) -> tuple[CachedViews | None, str]:
    """Open or make the cache of a split's evaluation views; see `open_cache`."""
    cache, place = _open(kind, paths, [(img_size, img_size)] * len(paths), f"views-{img_size}", facts)
    return (None if cache is None else CachedViews(cache)), place


def open_cache(
    kind: str,
    paths: Sequence[Path],
    img_size: int,
    *,
    facts: Mapping[Path, ImageFacts] | None = None,
    copies: int = 1,
) -> tuple[ImageCache | None, str]:
    """Open or make the cache of a split's shrunk pictures.

    Args:
        kind: off, disk, ram, or auto: memory if a quarter of the free memory is enough, else a file if half
            of the free disk space is, else off.
        paths: the split's images.
        img_size: side of the model's input, in pixels.
        facts: of the images, so that the files need not be opened; empty or None to open them.
        copies: number of processes of this machine that each hold a cache in memory.

    Returns:
        The cache, and a description of its place and size.

    Raises:
        InputError: too little space for the requested cache.
        UnreadableImageError: an image's header cannot be read.
    """
    if kind == "off":
        return None, "off"
    shorter = shorter_side(img_size)
    read = [facts[path].size if facts else upright_size(path, shorter=shorter) for path in paths]
    return _open(kind, paths, [shrunk_size(*size, shorter) for size in read], str(img_size), facts, copies)


def _open(
    kind: str,
    paths: Sequence[Path],
    sizes: Sequence[tuple[int, int]],
    what: str,
    facts: Mapping[Path, ImageFacts] | None,
    copies: int = 1,
) -> tuple[ImageCache | None, str]:
    if kind == "off":
        return None, "off"
    needed = needed_bytes(sizes)
    folder = user_cache_folder() / "images"
    if kind == "auto":
        kind = _best_kind(needed, folder, copies)
    text = filesize.decimal(needed)
    if kind == "off":
        return None, f"off, not enough space for {text}"
    if kind == "ram":
        if copies * needed > _free_memory():
            times = f"{copies} times " if copies > 1 else ""
            raise InputError(
                f"--cache ram needs {times}{text} of shared memory; use --cache disk or --cache off"
            )
        return ImageCache(sizes, None), f"memory, {text}"
    path = folder / _file_name(paths, what, facts)
    if not (path.is_file() and path.stat().st_size == needed):
        _reserve(path, needed, text)
    return ImageCache(sizes, path), f"{path}, {text}"


def _best_kind(needed: int, folder: Path, copies: int) -> str:
    if copies * needed <= SHARE_OF_MEMORY * _free_memory():
        return "ram"
    return "disk" if needed <= SHARE_OF_DISK * _free_disk(folder) else "off"


def _free_memory() -> int:
    """Bytes that processes can share, as the system reports them; 0 if it does not."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        shared = Path("/dev/shm")
        return min(free, shutil.disk_usage(shared).free) if shared.is_dir() else free
    except (OSError, ValueError, AttributeError):
        return 0


def _free_disk(folder: Path) -> int:
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    return shutil.disk_usage(existing).free


def _shared_memory(size: int) -> torch.Tensor:
    # Forked workers share the mapping, and its untouched pages take no memory. For workers that are spawned,
    # torch moves it to shared memory of its own.
    return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8)


def _file_name(paths: Sequence[Path], what: str, facts: Mapping[Path, ImageFacts] | None) -> str:
    """`FOLDER-WHAT-STATE.bin`: hashes of the images' common folder, and of their names, sizes and times."""
    state = hashlib.sha256(f"{RULE} {what}\n".encode())
    for path in paths:
        if facts:
            size, modified = facts[path].bytes, facts[path].modified_ns
        else:
            status = path.stat()
            size, modified = status.st_size, status.st_mtime_ns
        state.update(f"{path.resolve()} {size} {modified}\n".encode(errors="surrogateescape"))
    home = hashlib.sha256(os.fsencode(os.path.commonpath([path.resolve() for path in paths])))
    return f"{home.hexdigest()[:16]}-{what}-{state.hexdigest()[:16]}.bin"


def _reserve(path: Path, needed: int, text: str) -> None:
    """Make a cache file of its full size; remove those of earlier states of the same images."""
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{path.name.rpartition('-')[0]}-*.bin"):
            old.unlink()
        if needed > _free_disk(folder):
            raise OSError("the disk is full")
        with path.open("wb") as file:
            # Reserved, not only declared: on a full disk, writing to a mapped page would kill the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, needed)
            else:
                file.truncate(needed)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(f"--cache disk needs {text} in {folder}: {error}; use --cache off") from None
