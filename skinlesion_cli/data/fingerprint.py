"""What is kept of a photograph to recognise its copies: two digests, local features and a small grey picture.

The features are SIFT's (Lowe, IJCV 2004: extrema of differences of Gaussians, an orientation, a 4×4×8
histogram of gradients), with the square-root normalisation of Arandjelović and Zisserman (CVPR 2012), in
numpy. Two changes suit skin: no contrast threshold, because plain skin has few strong features, and a share
of the features for every scale, because noise and blur spoil the fine ones.

Coordinates are continuous pixels of a copy whose longer side is `WORK_SIDE`: x to the right, y down, and
the first pixel's centre at (0.5, 0.5).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from skinlesion_cli.core.images import read_image

Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

WORK_SIDE = 256
THUMB_SIDE = 128

# Scales: the finest blur, steps an octave, and how many features each octave may give.
SIGMA = 2.0
STEPS = 3
QUOTAS = (60, 60, 40, 16)
EDGE_RATIO = 12.0

GRID = 16
CELLS = 4
BINS = 8


@dataclass(frozen=True)
class Digests:
    """What tells equal files and equal pixels: SHA-256 of the bytes, and of the size and the pixels."""

    bytes_digest: bytes
    pixels_digest: bytes


@dataclass(frozen=True, eq=False)
class Fingerprint(Digests):
    """All that the search for changed copies keeps of one photograph (about 40 kB)."""

    points: Floats
    """(n, 4): x, y, scale (the blur's sigma), angle in radians."""
    descriptors: npt.NDArray[np.uint8]
    """(n, 128): 4 cells along the angle × 4 across × 8 directions, square roots × 512."""
    thumb: npt.NDArray[np.uint8]
    """Grey, longer side `THUMB_SIDE`."""


def digests(path: Path) -> Digests:
    """Read one photograph and keep what recognises the same bytes and the same pixels.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    return _digests(path, read_image(path))


def _digests(path: Path, image: Image.Image) -> Digests:
    size = f"{image.width}x{image.height}:".encode()
    return Digests(
        bytes_digest=hashlib.sha256(path.read_bytes()).digest(),
        pixels_digest=hashlib.sha256(size + image.tobytes()).digest(),
    )


def fingerprint(path: Path) -> Fingerprint:
    """Read one photograph and keep what recognises its copies.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    image = read_image(path)
    grey = image.convert("L")
    work = np.asarray(_fit(grey, WORK_SIDE), dtype=np.float32)
    points, descriptors = local_features(work)
    return Fingerprint(
        **vars(_digests(path, image)),
        points=points,
        descriptors=descriptors,
        thumb=np.asarray(_fit(grey, THUMB_SIDE)),
    )


def _fit(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)


def filled_border(grey: Floats) -> Bools:
    """Where the picture is black or white in from its border: the corners that a rotation leaves."""
    soft = ndimage.gaussian_filter(grey, 1.0)
    mask: Bools = np.zeros(grey.shape, dtype=bool)
    for flat in (soft < 12, soft > 244):
        labels, count = ndimage.label(flat)
        if count:
            rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
            mask |= np.isin(labels, np.unique(rim[rim > 0]))
    return mask


def local_features(grey: Floats) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Points (n, 4) and descriptors (n, 128) of a grey picture (height, width), 0 to 255."""
    filled = ndimage.binary_dilation(filled_border(grey), iterations=4)
    points, descriptors = [], []
    octave, step = grey, 1.0
    # The picture itself counts as blurred by half a pixel.
    blur = 0.5
    for quota in QUOTAS:
        if min(octave.shape) < 16:
            break
        levels = _blurred(octave, blur)
        ys, xs, ss = _extrema(levels, quota, filled[:: int(step), :: int(step)])
        for level in range(1, STEPS + 1):
            here = ss == level
            if here.any():
                sigma = SIGMA * 2.0 ** (level / STEPS)
                found, described = _describe(levels[level], xs[here], ys[here], sigma)
                # Subsampling keeps pixel 0, so a sample at x stands at x × step + half a working pixel.
                found[:, :2] = found[:, :2] * step + 0.5
                found[:, 2] *= step
                points.append(found)
                descriptors.append(described)
        octave, step, blur = levels[STEPS][::2, ::2], step * 2, SIGMA
    if not points:
        return np.zeros((0, 4), np.float32), np.zeros((0, CELLS * CELLS * BINS), np.uint8)
    return np.concatenate(points), np.concatenate(descriptors)


def _blurred(octave: Floats, blur: float) -> Floats:
    """(STEPS + 3, height, width): the octave at sigma × 2^(k / STEPS)."""
    levels, have, last = [], blur, octave
    for k in range(STEPS + 3):
        want = SIGMA * 2.0 ** (k / STEPS)
        more = np.sqrt(max(want**2 - have**2, 0.0))
        last = ndimage.gaussian_filter(last, more, mode="nearest", truncate=3.0) if more > 0.01 else last
        levels.append(last)
        have = want
    return np.stack(levels)


def _extrema(levels: Floats, quota: int, filled: Bools) -> tuple[Floats, Floats, npt.NDArray[np.intp]]:
    """The strongest blobs of one octave: y and x (sub-pixel, in its samples) and level."""
    dog = np.diff(levels, axis=0)
    size = (3, 3, 3)
    peak = (dog == ndimage.maximum_filter(dog, size)) | (dog == ndimage.minimum_filter(dog, size))
    peak[0] = peak[-1] = False
    peak &= ~filled[: dog.shape[1], : dog.shape[2]]
    peak[:, :3] = peak[:, -3:] = False
    peak[:, :, :3] = peak[:, :, -3:] = False
    s, y, x = np.nonzero(peak)
    here = dog[s, y, x]
    left, right, up, down = dog[s, y, x - 1], dog[s, y, x + 1], dog[s, y - 1, x], dog[s, y + 1, x]
    dxx, dyy = right + left - 2 * here, down + up - 2 * here
    dxy = (dog[s, y + 1, x + 1] + dog[s, y - 1, x - 1] - dog[s, y + 1, x - 1] - dog[s, y - 1, x + 1]) / 4
    det, trace = dxx * dyy - dxy**2, dxx + dyy
    # A point on an edge slides along it; a blob does not.
    blob = (det > 0) & (trace**2 * EDGE_RATIO < (EDGE_RATIO + 1) ** 2 * det)
    order = np.nonzero(blob)[0]
    order = order[np.argsort(-np.abs(here[order]), kind="stable")][:quota]
    dx = np.clip(-(right - left)[order] / 2 / dxx[order], -0.5, 0.5)
    dy = np.clip(-(down - up)[order] / 2 / dyy[order], -0.5, 0.5)
    return (y[order] + dy).astype(np.float32), (x[order] + dx).astype(np.float32), s[order]


def _sampled(level: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Gradients at points, by linear interpolation."""
    gy, gx = np.gradient(level)
    at = [y, x]
    dx: Floats = ndimage.map_coordinates(gx, at, order=1, mode="nearest")
    dy: Floats = ndimage.map_coordinates(gy, at, order=1, mode="nearest")
    return dx, dy


def _orientations(level: Floats, x: Floats, y: Floats, sigma: float) -> tuple[npt.NDArray[np.intp], Floats]:
    """Up to two angles for each point: the index of the point, and the angle."""
    reach = np.linspace(-4.5, 4.5, 13, dtype=np.float32) * sigma
    u, v = (part.ravel() for part in np.meshgrid(reach, reach))
    weight = np.exp(-(u**2 + v**2) / (2 * (1.5 * sigma) ** 2))
    dx, dy = _sampled(level, x[:, None] + u, y[:, None] + v)
    bins = 36
    place = np.arctan2(dy, dx) * (bins / (2 * np.pi))
    low = np.floor(place).astype(np.intp)
    high_share = place - low
    strength = np.hypot(dx, dy) * weight
    row = np.arange(len(x))[:, None] * bins
    total = np.bincount((row + low % bins).ravel(), (strength * (1 - high_share)).ravel(), len(x) * bins)
    total += np.bincount((row + (low + 1) % bins).ravel(), (strength * high_share).ravel(), len(x) * bins)
    histogram = total.reshape(len(x), bins).astype(np.float64)
    for _ in range(3):
        histogram = (np.roll(histogram, 1, 1) + histogram + np.roll(histogram, -1, 1)) / 3
    before, after = np.roll(histogram, 1, 1), np.roll(histogram, -1, 1)
    top = histogram.max(1, keepdims=True)
    peak = (histogram >= before) & (histogram > after) & (histogram >= 0.8 * top)
    # The two strongest of a point's peaks.
    ranked = np.where(peak, histogram, -1.0)
    peak &= ranked >= np.sort(ranked, 1)[:, -2:-1]
    point, k = np.nonzero(peak)
    bend = before[point, k] + after[point, k] - 2 * histogram[point, k]
    shift = (before[point, k] - after[point, k]) / (2 * np.minimum(bend, -1e-9))
    angle = (k + np.clip(shift, -0.5, 0.5)) * (2 * np.pi / bins)
    return point, angle.astype(np.float32)


def _describe(level: Floats, x: Floats, y: Floats, sigma: float) -> tuple[Floats, npt.NDArray[np.uint8]]:
    point, angle = _orientations(level, x, y, sigma)
    x, y = x[point], y[point]
    steps = ((np.arange(GRID) + 0.5) / GRID - 0.5).astype(np.float32)
    u, v = (part.ravel() for part in np.meshgrid(steps, steps, indexing="ij"))
    width = 3.0 * sigma * CELLS
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    right, down = u * cos - v * sin, u * sin + v * cos
    dx, dy = _sampled(level, x[:, None] + width * right, y[:, None] + width * down)
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    strength = np.hypot(along, across) * np.exp(-(u**2 + v**2) / (2 * 0.5**2))
    place = np.arctan2(across, along) * (BINS / (2 * np.pi))
    far = np.abs((place[:, :, None] - np.arange(BINS) + BINS / 2) % BINS - BINS / 2)
    direction = np.maximum(0, 1 - far) * strength[:, :, None]
    centres = (np.arange(CELLS) + 0.5) / CELLS - 0.5
    near = np.maximum(0, 1 - np.abs(steps[:, None] - centres) * CELLS)
    cells = (near[:, None, :, None] * near[None, :, None, :]).reshape(GRID * GRID, CELLS * CELLS)
    raw = np.einsum("pc,npb->ncb", cells.astype(np.float32), direction, optimize=True).reshape(len(x), -1)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True) + 1e-6
    raw = np.minimum(raw, 0.2)
    root = np.sqrt(raw / (raw.sum(1, keepdims=True) + 1e-6))
    points = np.stack([x, y, np.full(len(x), sigma), angle], axis=1).astype(np.float32)
    return points, np.minimum(np.rint(root * 512), 255).astype(np.uint8)


def mirrored(descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What the same points would give in the mirrored picture (n, 128)."""
    cube = descriptors.reshape(-1, CELLS, CELLS, BINS)[:, :, ::-1]
    flipped = cube[..., (-np.arange(BINS)) % BINS]
    return np.ascontiguousarray(flipped.reshape(len(descriptors), -1))
