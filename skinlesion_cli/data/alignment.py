"""Whether two photographs with matching features are one: lay one on the other and compare the pixels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from skinlesion_cli.data.fingerprint import THUMB_SIDE, WORK_SIDE, Fingerprint, Floats, Matrix
from skinlesion_cli.data.matching import Candidate

TRIED = 60
"""Matches that are tried as the start of an alignment."""
TOLERANCES = (8.0, 5.0, 4.0)
"""How far, in working pixels, a feature may lie from where each finer alignment puts it."""
MIN_INLIERS = 10
"""Features that an alignment has to carry; round lesions and plain skin share a few by chance."""
STEPS = 10
WINDOW = 4.0
"""Sigma, in thumbnail pixels, of the window that pictures are compared in."""
LIVELY = 12.0
"""Contrast (grey levels) above which a window weighs no more: an edge must not outvote the rest."""


@dataclass(frozen=True)
class Agreement:
    """How well one photograph, laid on the other, agrees with it."""

    inliers: int
    """Features that the alignment maps onto each other, counted once each."""
    overlap: float
    """Overlapping area as a share of the smaller picture."""
    fine: float
    """Mean correlation of small windows, weighted by their contrast, -1 to 1."""
    coarse: float
    """Correlation of the overlap as a whole."""
    stretch: float
    """Ratio of the alignment's two scales, 1 or more."""


def align(one: Fingerprint, other: Fingerprint, candidate: Candidate) -> Agreement | None:
    """Lay `one` on `other`; None where no alignment carries `MIN_INLIERS` features."""
    found = _consensus(one.points, other.points, candidate)
    if found is None:
        return None
    matrix, inliers = found
    return _compare(one.thumb, other.thumb, matrix, inliers)


def _consensus(one: Floats, other: Floats, candidate: Candidate) -> tuple[Matrix, int] | None:
    """The affine map (2, 3), working pixels of one to the other's, that most matches agree on."""
    p, q = one[candidate.matches[:, 0]].astype(float), other[candidate.matches[:, 1]].astype(float)
    tried = np.unique(np.linspace(0, len(p) - 1, min(len(p), TRIED)).astype(int))
    scale = q[tried, 2] / p[tried, 2]
    sign = -1.0 if candidate.mirror else 1.0
    # Each match alone gives a similarity: its points, scales and angles coincide.
    turn = q[tried, 3] - sign * p[tried, 3]
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.stack([np.stack([cos, -sin * sign], -1), np.stack([sin, cos * sign], -1)], -2)
    offset = q[tried, :2] - np.einsum("tij,tj->ti", linear, p[tried, :2])
    landed = np.einsum("tij,nj->tni", linear, p[:, :2]) + offset[:, None]
    far = np.hypot(*np.moveaxis(landed - q[None, :, :2], -1, 0))
    fits = (far < 2 * TOLERANCES[0]) & (np.abs(np.log(q[:, 2] / p[:, 2]) - np.log(scale)[:, None]) < 0.5)
    best = int(fits.sum(1).argmax())
    matrix = np.concatenate([linear[best], offset[best][:, None]], axis=1)
    fit = fits[best]
    for tolerance in TOLERANCES:
        if fit.sum() >= 4:
            matrix = _least_squares(p[fit, :2], q[fit, :2], matrix)
        fit = np.hypot(*(p[:, :2] @ matrix[:, :2].T + matrix[:, 2] - q[:, :2]).T) < tolerance
    inliers = min(len(np.unique(np.rint(side[fit, :2]), axis=0)) for side in (p, q))
    return (matrix, inliers) if inliers >= MIN_INLIERS else None


def _least_squares(p: Matrix, q: Matrix, prior: Matrix) -> Matrix:
    """The affine map of p to q; where the points do not fix it, it stays near `prior`."""
    middle = p.mean(0)
    rows = np.concatenate([p - middle, np.ones((len(p), 1))], axis=1)
    # As stiff as one feature 20 pixels off in each direction.
    stiff = np.diag([20.0, 20.0, 0.0])
    wanted = np.concatenate([q, stiff @ np.concatenate([prior[:, :2].T, np.zeros((1, 2))])])
    solved = np.linalg.lstsq(np.concatenate([rows, stiff]), wanted, rcond=None)[0]
    linear = solved[:2].T
    return np.concatenate([linear, (solved[2] - linear @ middle)[:, None]], axis=1)


def _compare(
    one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], matrix: Matrix, inliers: int
) -> Agreement | None:
    scales = np.linalg.svd(matrix[:, :2], compute_uv=False)
    if scales[1] < 0.3 or scales[0] > 3.3:
        return None
    ratio = THUMB_SIDE / WORK_SIDE
    # From the other's pixel centres to one's, in thumbnails.
    linear = np.linalg.inv(matrix[:, :2]).astype(np.float64)
    offset = -linear @ (matrix[:, 2] * ratio)
    # The finer of the two is blurred to what the coarser can show.
    grown = float(scales[0] * scales[1]) ** 0.5
    a = ndimage.gaussian_filter(one.astype(np.float32), max(1.0, 1.0 / grown))
    b = ndimage.gaussian_filter(other.astype(np.float32), max(1.0, grown))
    linear, offset = _refined(a, b, linear, offset)
    scales = np.linalg.svd(linear, compute_uv=False)
    warped, inside = _laid(a, linear, offset, b.shape)
    smaller = min(a.size / (scales[0] * scales[1]), b.size)
    overlap = float(inside.sum() / max(smaller, 1.0))
    if inside.sum() < 400:
        return None
    fine = _windowed(warped, b, inside)
    coarse = float(np.corrcoef(warped[inside], b[inside])[0, 1])
    return Agreement(inliers, overlap, fine, coarse, float(scales[0] / max(scales[1], 1e-6)))


def _laid(
    picture: Floats, linear: Matrix, offset: Matrix, shape: tuple[int, ...]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The picture as the other's grid sees it, and where it reaches."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    at_x = linear[0, 0] * x + linear[0, 1] * y + offset[0] - 0.5
    at_y = linear[1, 0] * x + linear[1, 1] * y + offset[1] - 0.5
    inside = (at_x >= 0) & (at_y >= 0) & (at_x <= picture.shape[1] - 1) & (at_y <= picture.shape[0] - 1)
    return ndimage.map_coordinates(picture, [at_y, at_x], order=1, mode="nearest"), inside


def _flat(picture: Floats) -> Floats:
    """The picture without its slow changes, in units of its own contrast, outliers held in."""
    high = picture - ndimage.gaussian_filter(picture, 8.0)
    spread = np.float32(np.median(np.abs(high)) * 1.5 + 0.3)
    flat: Floats = np.clip(high / spread, -3, 3)
    return flat


def _refined(a: Floats, b: Floats, linear: Matrix, offset: Matrix) -> tuple[Matrix, Matrix]:
    """Gauss-Newton on the six numbers of the map (Lucas and Kanade), robust to parts that differ."""
    still = _flat(b)
    gy, gx = np.gradient(ndimage.gaussian_filter(still, 1.0))
    y, x = np.mgrid[: b.shape[0], : b.shape[1]] + 0.5
    middle = np.array([b.shape[1] / 2, b.shape[0] / 2])
    x, y = (x - middle[0]) / 50, (y - middle[1]) / 50
    slopes = np.stack([gx * x, gx * y, gx, gy * x, gy * y, gy], -1)
    moving = _flat(a)
    for _ in range(STEPS):
        warped, inside = _laid(moving, linear, offset, b.shape)
        if inside.sum() < 400:
            break
        error = warped - still
        weight = inside / (1 + (error / 1.0) ** 2)
        weighted = slopes * weight[..., None]
        normal = np.einsum("hwi,hwj->ij", weighted, slopes, optimize=True)
        step = np.linalg.solve(
            normal + np.eye(6) * (1e-3 * np.trace(normal) / 6 + 1e-6), np.einsum("hwi,hw->i", weighted, error)
        )
        step = np.clip(step, -4, 4)
        # Compose with the inverse of the step that was found on the still picture.
        change = np.eye(2) + np.array([[step[0], step[1]], [step[3], step[4]]]) / 50
        shift = step[[2, 5]]
        # still(W(p; step)) = moving: p' = middle + change (p - middle) + shift
        if abs(np.linalg.det(change)) < 0.2:
            break
        back = np.linalg.inv(change)
        linear, offset = linear @ back, offset + linear @ (middle - back @ (middle + shift))
        if np.abs(step).max() < 0.02:
            break
    return linear, offset


def _windowed(a: Floats, b: Floats, inside: npt.NDArray[np.bool_]) -> float:
    share = np.maximum(ndimage.gaussian_filter(inside.astype(np.float32), WINDOW), 1e-3)

    def mean(values: Floats) -> Floats:
        average: Floats = ndimage.gaussian_filter(np.where(inside, values, 0), WINDOW) / share
        return average

    mean_a, mean_b = mean(a), mean(b)
    spread_a = np.sqrt(np.maximum(mean(a * a) - mean_a**2, 1e-3))
    spread_b = np.sqrt(np.maximum(mean(b * b) - mean_b**2, 1e-3))
    match = (mean(a * b) - mean_a * mean_b) / (spread_a * spread_b)
    weight = np.minimum(np.minimum(spread_a, spread_b), LIVELY) * inside
    return float((match * weight).sum() / weight.sum())
