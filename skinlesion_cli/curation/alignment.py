"""Alignment of two photographs with matching features, and how well their pixels then agree."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from skinlesion_cli.curation.fingerprint import Bytes, Floats, Indices, Sketch, filled_border

Matrix = npt.NDArray[np.float64]

TOLERANCES = (4.0, 2.5, 2.0)
"""Maximum distance, in pixels, of an inlier in each round of refinement."""
MIN_INLIERS = 6
"""Features that an alignment needs; round lesions and plain skin share a few features by chance."""
MAX_SCALE = 3.3
"""Maximum scale of a copy, enlarged or reduced; beyond it, an alignment is wrong."""
REFINEMENT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
MIN_OVERLAP = 400
"""In pixels."""
WINDOW = 4.0
"""Sigma, in pixels, of the window in which images are compared."""
MAX_CONTRAST = 12.0
"""Grey levels above which a window gains no more weight: one edge must not outweigh the rest."""


@dataclass(frozen=True)
class Agreement:
    """How well two aligned photographs agree."""

    inliers: int
    """Distinct features that the alignment maps onto each other."""
    shares: tuple[float, float]
    """The common part as a share of each image, the smaller share first."""
    fine: float
    """Mean correlation of small windows, weighted by their contrast, -1 to 1."""
    coarse: float
    """Correlation of the common part as a whole, -1 to 1."""
    shading: float
    """Root mean square difference of the lighting, in grey levels, after the best common tone curve."""
    stretch: float
    """Ratio of the two scales of the alignment, 1 or more."""


def align(one: Sketch, other: Sketch, found: Indices, similar: Indices, mirror: bool) -> Agreement | None:
    """Align `one` with `other`, mirrored or not; None if no alignment has `MIN_INLIERS` inliers.

    Args:
        found: (n, 2), an index of a feature of each: distinctive ones, which propose the alignment. Others,
            as those on the rim of a dermatoscope, would align what photographs of any two lesions share.
        similar: (n, 2), all matches, which then refine it.
    """
    # A single pair is little work: OpenCV's threads would only slow down the other processes.
    cv2.setNumThreads(1)
    start = _proposed(one.points, other.points, found, mirror)
    aligned = start is not None and _refit(one.points, other.points, similar, start)
    return _compare(one.thumb, other.thumb, *aligned) if aligned else None


def _proposed(one: Floats, other: Floats, found: Indices, mirror: bool) -> Matrix | None:
    """The affine map (2, 3) from one to the other that most matches support, if `MIN_INLIERS` do."""
    p, q = one[found[:, 0]].astype(float), other[found[:, 1]].astype(float)
    scale = q[:, 2] / p[:, 2]
    sign = -1.0 if mirror else 1.0
    # Each match gives a similarity transform: its points, scales and angles must coincide.
    turn = q[:, 3] - sign * p[:, 3]
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.stack([np.stack([cos, -sin * sign], -1), np.stack([sin, cos * sign], -1)], -2)
    offset = q[:, :2] - np.einsum("tij,tj->ti", linear, p[:, :2])
    landed = np.einsum("tij,nj->tni", linear, p[:, :2]) + offset[:, None]
    far = np.hypot(*np.moveaxis(landed - q[None, :, :2], -1, 0))
    fits = (far < 2 * TOLERANCES[0]) & (np.abs(np.log(q[:, 2] / p[:, 2]) - np.log(scale)[:, None]) < 0.5)
    best = int(fits.sum(1).argmax())
    fit = fits[best]
    if _distinct(p[fit], q[fit]) < MIN_INLIERS:
        return None
    return _least_squares(p[fit, :2], q[fit, :2], np.column_stack([linear[best], offset[best]]))


def _refit(one: Floats, other: Floats, similar: Indices, matrix: Matrix) -> tuple[Matrix, int] | None:
    """The map refined with all matches that it supports, and how many; None if fewer than `MIN_INLIERS`."""
    p, q = one[similar[:, 0]].astype(float), other[similar[:, 1]].astype(float)
    for tolerance in TOLERANCES:
        fit = np.hypot(*(p[:, :2] @ matrix[:, :2].T + matrix[:, 2] - q[:, :2]).T) < tolerance
        if fit.sum() >= 4:
            matrix = _least_squares(p[fit, :2], q[fit, :2], matrix)
    inliers = _distinct(p[fit], q[fit])
    return (matrix, inliers) if inliers >= MIN_INLIERS else None


def _distinct(p: Matrix, q: Matrix) -> int:
    """How many different features matches have, on the side with fewer."""
    return min(len(np.unique(np.rint(side[:, :2]), axis=0)) for side in (p, q))


def _least_squares(p: Matrix, q: Matrix, prior: Matrix) -> Matrix:
    """The affine map from p to q, regularised towards `prior`."""
    middle = p.mean(0)
    rows = np.column_stack([p - middle, np.ones(len(p))])
    # As strong as one feature 10 pixels off in each direction.
    ridge = np.diag([10.0, 10.0, 0.0])
    wanted = np.concatenate([q, ridge @ np.concatenate([prior[:, :2].T, np.zeros((1, 2))])])
    solved = np.linalg.lstsq(np.concatenate([rows, ridge]), wanted, rcond=None)[0]
    linear = solved[:2].T
    return np.column_stack([linear, solved[2] - linear @ middle])


def _compare(one: Bytes, other: Bytes, matrix: Matrix, inliers: int) -> Agreement | None:
    scales = np.linalg.svd(matrix[:, :2], compute_uv=False)
    if scales[1] < 1 / MAX_SCALE or scales[0] > MAX_SCALE:
        return None
    linear = np.linalg.inv(matrix[:, :2])
    back = np.column_stack([linear, -linear @ matrix[:, 2]]).astype(np.float32)
    # The sharper of the two is blurred to the resolution of the other.
    grown = float(scales[0] * scales[1]) ** 0.5
    a = cv2.GaussianBlur(one.astype(np.float32), (0, 0), max(1.0, 1.0 / grown))
    b = cv2.GaussianBlur(other.astype(np.float32), (0, 0), max(1.0, grown))
    back = _refined(a, b, back)
    scales = np.linalg.svd(back[:, :2], compute_uv=False)
    warped, reach = _warped(a, back, b.shape)
    shown_a, shown_b = _shown(one), _shown(other)
    inside = reach * shown_b * (_warped(shown_a, back, b.shape)[0] > 0.99)
    common = float(inside.sum())
    if common < MIN_OVERLAP or scales[1] < 1 / MAX_SCALE:
        return None
    smaller, larger = sorted((common * float(scales.prod()) / shown_a.sum(), common / shown_b.sum()))
    seen = inside > 0
    return Agreement(
        inliers=inliers,
        shares=(smaller, larger),
        fine=_windowed(warped, b, inside),
        coarse=float(np.corrcoef(warped[seen], b[seen])[0, 1]),
        shading=_shading(warped, b, seen),
        stretch=float(scales[0] / scales[1]),
    )


def _shown(thumb: Bytes) -> Floats:
    """1 where an image shows something, 0 in the filled corners of a rotated copy."""
    return np.asarray(1 - cv2.dilate(filled_border(thumb), np.ones((5, 5), np.uint8)), np.float32)


def _shading(a: Floats, b: Floats, seen: npt.NDArray[np.bool_]) -> float:
    """How much the lighting differs: editing a copy does not change it, a second photograph does."""
    soft_a, soft_b = (cv2.GaussianBlur(one, (0, 0), WINDOW)[seen] for one in (a, b))
    tone = np.polynomial.Polynomial.fit(soft_a, soft_b, 2)
    return float(np.std(soft_b - tone(soft_a)))


def _warped(image: Floats, back: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """The image on the grid of the other, and 1 where it covers it."""
    size, flags = (shape[1], shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    reach = cv2.warpAffine(np.ones_like(image), back, size, flags=flags)
    return warped, (reach > 0.999).astype(np.float32)


def _flat(image: Floats) -> Floats:
    """The image without low frequencies, in units of its own contrast, clipped."""
    high = image - cv2.GaussianBlur(image, (0, 0), 8.0)
    spread = np.float32(np.median(np.abs(high)) * 1.5 + 0.3)
    return np.asarray(np.clip(high / spread, -3, 3), np.float32)


def _refined(a: Floats, b: Floats, back: Floats) -> Floats:
    """The map near `back` that correlates the two best (ECC; Evangelidis and Psarakis, PAMI 2008)."""
    start = back.copy()
    try:
        _, refined = cv2.findTransformECC(_flat(b), _flat(a), start, cv2.MOTION_AFFINE, REFINEMENT, None, 3)
        return np.asarray(refined, np.float32)
    except cv2.error:
        # It did not converge: the images are too different.
        return back


def _windowed(a: Floats, b: Floats, inside: Floats) -> float:
    share = np.maximum(cv2.GaussianBlur(inside, (0, 0), WINDOW), 1e-3)

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(values * inside, (0, 0), WINDOW) / share, np.float32)

    mean_a, mean_b = mean(a), mean(b)
    spread_a = np.sqrt(np.maximum(mean(a * a) - mean_a**2, 1e-3))
    spread_b = np.sqrt(np.maximum(mean(b * b) - mean_b**2, 1e-3))
    match = (mean(a * b) - mean_a * mean_b) / (spread_a * spread_b)
    weight = np.minimum(np.minimum(spread_a, spread_b), MAX_CONTRAST) * inside
    return float((match * weight).sum() / weight.sum())
