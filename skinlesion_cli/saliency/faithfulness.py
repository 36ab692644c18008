"""Deletion and insertion: does the prediction depend on the pixels that a map highlights?

Source: the deletion and insertion metrics of Petsiuk, Das and Saenko, *RISE: Randomized Input Sampling for
Explanation of Black-box Models*, BMVC 2018. Pixels are removed from the view, or inserted into a blurred copy
of it, in the order of the map. For a faithful map, the area under the curve of the class's probability is low
for deletion and high for insertion. No torch here: the model is any function of uint8 images.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from skinlesion_cli.metrics.arrays import Floats, bounds
from skinlesion_cli.metrics.bootstrap import RESAMPLES, Bootstrap, interval

STEPS = 32
"""Number of equal steps in which all pixels are removed or inserted."""
RANDOM_MAPS = 3
"""Number of random maps whose mean areas a map is compared with."""
BLUR = 1 / 8
"""Standard deviation of the blur, as a share of the view's side; less would leave lesions visible."""

Probabilities = Callable[[NDArray[np.uint8]], Floats]
"""Computes a class's probability, (n,), for views (n, 3, side, side)."""


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the probability curves, each in [0, 1], for a map and for random maps."""

    deletion: float
    """Low for a faithful map."""
    insertion: float
    """High for a faithful map."""
    random_deletion: float
    random_insertion: float


def faithfulness(
    probabilities: Probabilities,
    view: NDArray[np.uint8],
    heat: NDArray[np.float32],
    grid: tuple[int, ...],
    *,
    seed: int,
) -> Faithfulness:
    """Compare a map `heat` (side, side) over a view (3, side, side) with random maps of its `grid`."""
    own = areas(probabilities, view, removal_order(heat, grid, seed))
    return Faithfulness(*own, *random_areas(probabilities, view, grid, seed=seed))


def random_areas(
    probabilities: Probabilities, view: NDArray[np.uint8], grid: tuple[int, ...], *, seed: int
) -> tuple[float, float]:
    """Mean deletion and insertion areas of `RANDOM_MAPS` random maps; arguments as in `faithfulness`."""
    empty = np.zeros(view.shape[1:], np.float32)
    drawn = [
        areas(probabilities, view, removal_order(empty, grid, seed + 1 + number))
        for number in range(RANDOM_MAPS)
    ]
    deletion, insertion = np.mean(drawn, axis=0).tolist()
    return deletion, insertion


def removal_order(heat: NDArray[np.float32], grid: tuple[int, ...], seed: int) -> NDArray[np.int64]:
    """Flat indices of all pixels of a map, in descending order of its values.

    Pixels of equal value are in the order of a random map, so an empty map becomes a random one. Random maps
    have the resolution of real ones, `grid` rows and columns: removing single scattered pixels would turn the
    view into noise, which fools a network whatever the pixels show, and the comparison would be unfair.
    """
    coarse = Image.fromarray(np.random.default_rng(seed).random(grid, dtype=np.float32))
    random = np.asarray(coarse.resize((heat.shape[1], heat.shape[0]), Image.Resampling.BILINEAR))
    return np.lexsort((random.ravel(), -heat.ravel()))


def areas(
    probabilities: Probabilities, view: NDArray[np.uint8], order: NDArray[np.int64], steps: int = STEPS
) -> tuple[float, float]:
    """Areas under the deletion and insertion curves of a view (3, side, side), in a `removal_order`."""
    mean = view.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    deleted = replaced(view, np.broadcast_to(mean, view.shape), order, steps)
    inserted = replaced(blurred(view), view, order, steps)
    return area(probabilities(deleted)), area(probabilities(inserted))


def replaced(
    start: NDArray[np.uint8], end: NDArray[np.uint8], order: NDArray[np.int64], steps: int
) -> NDArray[np.uint8]:
    """A view (3, side, side) turned into another, by flat indices `order`: (steps + 1, 3, side, side)."""
    images = np.repeat(start[None], steps + 1, axis=0)
    rows, source = images.reshape(steps + 1, 3, -1), end.reshape(3, -1)
    for step in range(1, steps + 1):
        turned = order[: round(step * len(order) / steps)]
        rows[step][:, turned] = source[:, turned]
    return images


def blurred(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A view (3, side, side), blurred so much that little more than its colours remains."""
    picture = Image.fromarray(np.ascontiguousarray(view.transpose(1, 2, 0)))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(BLUR * view.shape[-1]))).transpose(2, 0, 1)


def summarise(measured: Sequence[Faithfulness], groups: Sequence[str], unit: str) -> dict[str, Any]:
    """Means over many maps with 95% bootstrap intervals, as a JSON document.

    They are the means of the fields of `Faithfulness`, and the shares of maps that are better than random,
    where ties count half. `groups` has the image, lesion or patient of each map; `unit` is "images" or
    "groups". Whole groups are resampled; with only one, there are no intervals.
    """
    own = np.array([astuple(one) for one in measured])
    won = np.sign([own[:, 2] - own[:, 0], own[:, 1] - own[:, 3]]).T / 2 + 0.5
    columns = np.hstack([own, won])
    resampled = Bootstrap(len(columns), groups).means(columns)
    if len(set(groups)) == 1:
        # Every resample is this group: the interval would be a single point, as if the mean were certain.
        resampled[:] = np.nan
    names = [field.name for field in fields(Faithfulness)]
    names += ["deletion_beats_random", "insertion_beats_random"]
    figures = {
        name: {"mean": float(mean), "ci95": bounds(interval(means))}
        for name, mean, means in zip(names, columns.mean(axis=0), resampled.T, strict=True)
    }
    method = f"percentile bootstrap, {RESAMPLES} resamples of {unit}"
    return {"n": len(measured), **figures, "ci95_method": method, "resampling_unit": unit}


def area(curve: Floats) -> float:
    """Area under equally spaced values over [0, 1], by the trapezoidal rule."""
    return float(np.trapezoid(curve) / (len(curve) - 1))
