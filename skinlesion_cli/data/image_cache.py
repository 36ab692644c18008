"""Caches of decoded images: downscaled training images, and the evaluation views of validation images.

A cached image equals the one made from its file, so a cache changes the speed of a run and nothing else.
"""

import hashlib
import mmap
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich import filesize
from torch.nn import functional

from skinlesion_cli.common.cores import usable_cores
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import user_cache_folder
from skinlesion_cli.common.paper import PAPER, Resize
from skinlesion_cli.data.images import read_image, upright_size
from skinlesion_cli.data.screening import ImageFacts, shorter_side

RULE = "5"
"""Part of a cache file's name; to be raised when the layout or the pixels change."""

KEPT = 1.25
"""An image whose shorter side is at most this many times too long stays as it is: downscaling it would take
longer than decoding it. At most 1.6 times as many pixels are cached and cropped."""

# Maximum share of the free memory and disk space that `auto` takes.
SHARE_OF_MEMORY = 0.25
SHARE_OF_DISK = 0.5


class ShrunkPictures:
    """The images that random crops are taken from: (3, height, width), uint8."""

    def __init__(self, paths: Sequence[Path], img_size: int, cache: "ImageCache | None"):
        self._paths = paths
        self._shorter = shorter_side(img_size)
        self._cache = cache

    def __getitem__(self, index: int) -> torch.Tensor:
        """Raises UnreadableImageError if the file cannot be read."""
        cached = self._cache.get(index) if self._cache is not None else None
        if cached is not None:
            return torch.from_numpy(cached)
        picture = self._read(self._paths[index])
        if self._cache is not None:
            self._cache.put(index, picture)
        return picture

    def _read(self, path: Path) -> torch.Tensor:
        pixels = torch.from_numpy(np.array(read_image(path, shorter=self._shorter))).permute(2, 0, 1)
        width, height = shrunk_size(pixels.shape[2], pixels.shape[1], self._shorter)
        if (height, width) == pixels.shape[1:]:
            return pixels
        # Bilinear downscaling before the bilinear resizing of the crop would lose a fifth of the fine detail.
        small = functional.interpolate(pixels[None], (height, width), mode="bicubic", antialias=True)
        return small.contiguous(memory_format=torch.channels_last)[0]


def shrunk_size(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Width and height after downscaling a shorter side of more than `KEPT` times `shorter` to `shorter`."""
    scale = shorter / min(width, height)
    if scale * KEPT >= 1:
        return width, height
    return (shorter, round(height * scale)) if width <= height else (round(width * scale), shorter)


class ImageCache:
    """A buffer for the images of one split, shared by all processes of a run; it is a `KeptViews`.

    It begins with one byte per image, which says whether the image is cached; the pixels follow.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], path: Path | None):
        """For images of these (width, height), in a file of the buffer's size, or in shared memory."""
        self.path = path
        self._sizes = sizes
        self._starts = len(sizes) + np.concatenate([[0], np.cumsum([3 * w * h for w, h in sizes])])
        self._buffer = self._mapped()

    def _mapped(self) -> torch.Tensor:
        size = int(self._starts[-1])
        if self.path is not None:
            return torch.from_file(str(self.path), shared=True, size=size, dtype=torch.uint8)
        # Forked workers share the mapping, and its untouched pages take no memory. For spawned workers, torch
        # moves it to its own shared memory.
        return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8)

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker maps the file itself; torch would copy it into shared memory.
        return {name: value for name, value in vars(self).items() if self.path is None or name != "_buffer"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.path is not None:
            self._buffer = self._mapped()

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """An image (3, height, width), or None if it is not cached yet. Do not change it."""
        return self._place(index).numpy() if self._buffer[index] else None

    def put(self, index: int, picture: torch.Tensor | NDArray[np.uint8]) -> None:
        """Cache an image, unless its size has changed since the buffer was laid out."""
        place = self._place(index)
        if picture.shape == place.shape:
            place.copy_(torch.as_tensor(picture))
            self._buffer[index] = 1

    def _place(self, index: int) -> torch.Tensor:
        width, height = self._sizes[index]
        pixels = self._buffer[self._starts[index] : self._starts[index + 1]]
        return pixels.view(height, width, 3).permute(2, 0, 1)


def open_views(
    kind: str, paths: Sequence[Path], img_size: int, resize: Resize = PAPER
) -> tuple[ImageCache | None, str]:
    """Open or create the cache of a split's evaluation views; see `open_cache`."""
    colour = bytes(resize.border).hex() if resize.fit == "pad" else ""
    what = "-".join(filter(None, ["views", str(img_size), resize.fit, colour]))
    return _open(kind, paths, [(img_size, img_size)] * len(paths), what)


def open_cache(
    kind: str,
    paths: Sequence[Path],
    img_size: int,
    *,
    facts: Mapping[Path, ImageFacts] | None = None,
    copies: int = 1,
) -> tuple[ImageCache | None, str]:
    """Open or create the cache of a split's downscaled images; also returns a text on its location and size.

    The images keep their proportions, so the same cache serves every `fit`.

    `kind` is off, disk, ram, or auto: memory if a quarter of the free memory is enough, otherwise a file if
    half of the free disk space is, otherwise off. InputError if there is too little space for disk or ram.
    Without `facts`, the images are opened. `copies` processes of this machine each hold a cache in memory.
    """
    if kind == "off":
        return None, "off"
    shorter = shorter_side(img_size)
    read = [facts[path].size if facts else upright_size(path, shorter=shorter) for path in paths]
    return _open(kind, paths, [shrunk_size(*size, shorter) for size in read], str(img_size), copies)


def _open(
    kind: str, paths: Sequence[Path], sizes: Sequence[tuple[int, int]], what: str, copies: int = 1
) -> tuple[ImageCache | None, str]:
    if kind == "off":
        return None, "off"
    needed = len(sizes) + sum(3 * width * height for width, height in sizes)
    text = filesize.decimal(needed)
    if kind == "auto" and copies * needed <= SHARE_OF_MEMORY * _free_memory():
        kind = "ram"
    elif kind == "auto":
        try:
            if needed > SHARE_OF_DISK * _free_disk(user_cache_folder()):
                return None, f"off, not enough space for {text}"
        except InputError as error:
            return None, f"off: {error}"
    if kind == "ram":
        if copies * needed > _free_memory():
            times = f"{copies} times " if copies > 1 else ""
            fault = f"--cache ram needs {times}{text} of shared memory"
            raise InputError(f"{fault}; use --cache disk or --cache off")
        return ImageCache(sizes, None), f"memory, {text}"
    path = user_cache_folder() / "images" / _file_name(paths, what)
    if not (path.is_file() and path.stat().st_size == needed):
        _reserve(path, needed, text)
    return ImageCache(sizes, path), f"{path}, {text}"


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


def _file_name(paths: Sequence[Path], what: str) -> str:
    """`FOLDER-WHAT-STATE.bin`: hashes of the images' common folder, and of their names and whole contents.

    Sizes and times are not enough: an image can be replaced by one of the same size and time. Reading all
    bytes takes a tenth of the time of decoding (0.7 ms for a JPEG of 550 kB in memory).
    """
    resolved = [path.resolve() for path in paths]
    state = hashlib.sha256(f"{RULE} {what}\n".encode())
    with ThreadPoolExecutor(usable_cores()) as pool:
        for path, content in zip(resolved, pool.map(_digest, resolved), strict=True):
            state.update(os.fsencode(path) + b"\0" + content)
    home = hashlib.sha256(os.fsencode(os.path.commonpath(resolved)))
    return f"{home.hexdigest()[:16]}-{what}-{state.hexdigest()[:16]}.bin"


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _reserve(path: Path, needed: int, text: str) -> None:
    """Create a cache file of its full size; remove those of earlier states of the same images."""
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{path.name.rpartition('-')[0]}-*.bin"):
            old.unlink()
        if needed > _free_disk(folder):
            raise OSError("the disk is full")
        with path.open("wb") as file:
            # The space is really reserved: on a full disk, writing to a mapped page would kill the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, needed)
            else:
                file.truncate(needed)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(f"--cache disk needs {text} in {folder}: {error}; use --cache off") from None
