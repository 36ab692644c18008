"""Fingerprints by which copies of a photograph are recognised: digests, local features and a thumbnail.

The features are OpenCV's SIFT (Lowe, IJCV 2004) with the square-root normalisation of Arandjelović and
Zisserman (CVPR 2012), and without a contrast threshold: plain skin has few strong features.

Coordinates are pixels of a copy whose longer side is `SIDE`: x to the right, y down, with the centre of the
first pixel at (0, 0), as in OpenCV, which doubles this copy before it looks for features.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from skinlesion_cli.data.images import read_image

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Descriptors = TypeVar("Descriptors", npt.NDArray[np.uint8], npt.NDArray[np.float32])

SIDE = 128

MIN_DIAMETER = 2.25
"""Of a feature, in pixels: noise and blur spoil smaller ones."""
QUOTAS = (120, 60, 30, 15)
"""How many features are kept per doubling of the diameter, the strongest first."""
STRONGEST = (32, 16, 10, 6)
"""How many of these are indexed."""
EDGE_RATIO = 12.0

CELLS = 4
BINS = 8
DESCRIPTOR = CELLS * CELLS * BINS


@dataclass(frozen=True, eq=False)
class Sketch:
    """What is needed to align a photograph with another (about 15 kB)."""

    points: Floats
    """(n, 4): x, y, diameter, angle in radians."""
    thumb: Bytes
    """Grey, longer side `SIDE`."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of one photograph (about 30 kB)."""

    bytes_digest: bytes
    """SHA-256 of the file."""
    pixels_digest: bytes
    """SHA-256 of the size and the pixels."""
    sketch: Sketch
    descriptors: Bytes
    """(n, 128), one per point: 4 cells across the angle × 4 along it × 8 directions, square roots × 512."""


_NO_DESCRIPTORS = np.zeros((0, DESCRIPTOR), np.uint8)
_NO_SKETCH = Sketch(np.zeros((0, 4), np.float32), np.zeros((0, 0), np.uint8))


def fingerprint(path: Path, *, near: bool = True, digest: bytes | None = None) -> Fingerprint:
    """Read one photograph; with `near`, its features too, by which changed copies are recognised.

    `digest` is the SHA-256 of the file, if it is known.
    """
    image = read_image(path)
    pixels = f"{image.width}x{image.height}:".encode() + image.tobytes()
    digests = digest or hashlib.sha256(path.read_bytes()).digest(), hashlib.sha256(pixels).digest()
    if not near:
        return Fingerprint(*digests, _NO_SKETCH, _NO_DESCRIPTORS)
    thumb = _thumbnail(image.convert("L"))
    points, descriptors = local_features(thumb)
    return Fingerprint(*digests, Sketch(points, thumb), descriptors)


def _thumbnail(image: Image.Image) -> Bytes:
    scale = SIDE / max(image.size)
    size = max(8, round(image.width * scale)), max(8, round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX))


def filled_border(grey: Bytes) -> Bytes:
    """1 where the image is flat from its border inwards, as in the corners of a rotated copy; else 0."""
    soft = cv2.GaussianBlur(grey, (0, 0), 1.5)
    square = np.ones((5, 5), np.uint8)
    spread = cv2.subtract(cv2.dilate(soft, square), cv2.erode(soft, square))
    flat = ((spread <= 1) | (soft < 12) | (soft > 244)).astype(np.uint8)
    _, labels = cv2.connectedComponents(flat)
    rim = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.isin(labels, rim[rim > 0]).astype(np.uint8)


def local_features(grey: Bytes) -> tuple[Floats, Bytes]:
    """Points (n, 4) and descriptors (n, 128) of a grey image (height, width)."""
    # One photograph is little work: OpenCV's threads would only slow down the other processes.
    cv2.setNumThreads(1)
    sift = cv2.SIFT.create(contrastThreshold=0.0, edgeThreshold=EDGE_RATIO)
    usable = 1 - cv2.dilate(filled_border(grey), np.ones((5, 5), np.uint8))
    chosen = []
    found = sorted(sift.detect(grey, usable), key=lambda point: -abs(point.response))
    for octave, quota in enumerate(QUOTAS):
        low, high = MIN_DIAMETER * 2.0**octave, MIN_DIAMETER * 2.0 ** (octave + 1)
        chosen += [point for point in found if low <= point.size < high][:quota]
    if not chosen:
        return _NO_SKETCH.points, _NO_DESCRIPTORS
    kept, raw = sift.compute(grey, chosen)
    points = np.array([(*point.pt, point.size, np.radians(point.angle)) for point in kept], np.float32)
    root = np.sqrt(raw / (raw.sum(1, keepdims=True) + 1e-6))
    return points, np.minimum(np.rint(root * 512), 255).astype(np.uint8)


def strongest(points: Floats) -> Indices:
    """Indices of the `STRONGEST` of the features of each size, of the points that `local_features` found."""
    octave = np.floor(np.log2(points[:, 2] / MIN_DIAMETER)).astype(int)
    parts = [np.nonzero(octave == one)[0][:most] for one, most in enumerate(STRONGEST)]
    return np.concatenate(parts)


def mirrored(descriptors: Descriptors) -> Descriptors:
    """The descriptors (n, 128) of the same points in the mirrored image."""
    cube = descriptors.reshape(-1, CELLS, CELLS, BINS)[:, ::-1]
    return np.ascontiguousarray(cube[..., -np.arange(BINS)].reshape(len(descriptors), -1))
