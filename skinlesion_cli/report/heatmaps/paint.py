"""A map as an image on top of the photograph: outlines in the colours of the colour bar.

Colours that are blended with the photograph match no colour bar, and they hide the colours of the lesion. So
the map is drawn as opaque lines: each area of similar evidence is outlined, inside its edge.
"""

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinlesion_cli.report.heatmaps import ALPHA

if TYPE_CHECKING:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    from skinlesion_cli.saliency.explanation import Explanation

COLOURS = "inferno"
STEPS = 10
"""Steps of the colour bar."""
THINNEST, WIDEST = 0.004, 0.016
"""Width of a line with the least and with the most evidence, as a share of the map's side."""


def bar_colours() -> tuple["ListedColormap", "BoundaryNorm"]:
    """The colours of the colour bar, and the steps of the evidence in [0, 1] that they stand for."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    return ListedColormap(_colours()[1:] / 255), BoundaryNorm(np.arange(STEPS + 1) / STEPS, STEPS)


def _colours() -> NDArray[np.uint8]:
    """(steps + 1, 4): the colour without evidence, then that of each step."""
    from matplotlib import colormaps

    colours: NDArray[np.uint8] = colormaps[COLOURS](np.arange(STEPS + 1) / STEPS, bytes=True)
    return colours


def painted(
    explanation: "Explanation", size: tuple[int, int], *, alpha: float = ALPHA, smooth: bool = False
) -> Image.Image:
    """The map as an RGBA image of `size` (width, height), to be placed on the frame.

    The cells of the map are shown as they are, or interpolated if `smooth`. `alpha` in [0, 1] is the opacity
    between the lines.
    """
    values = explanation.raw if explanation.raw.size and not smooth else explanation.heat
    resampling = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    enlarged = np.asarray(Image.fromarray(values).resize(size, resampling))
    # A value at the edge of a step, up to rounding, must not reach the next step.
    steps = np.ceil(STEPS * enlarged / (values.max() or 1) - 1e-4).astype(np.intp)
    colours = _colours()
    colours[:, 3] = round(255 * alpha)
    image = colours[steps]
    # Many lines side by side must not hide the photograph.
    image[_lines(steps, THINNEST if smooth else 0.2 / max(explanation.grid)), 3] = 255
    return Image.fromarray(image)


def _lines(steps: NDArray[np.intp], widest: float) -> NDArray[np.bool_]:
    """(height, width): the pixels of the lines, the wider the more evidence; none where there is none."""
    lined = np.zeros(steps.shape, bool)
    high, wide = steps.shape
    for step in range(1, STEPS + 1):
        share = min(widest, THINNEST + (WIDEST - THINNEST) * step / STEPS)
        width = max(1, round(max(steps.shape) * share))
        area = steps == step
        around = np.pad(area, width)
        for down, across in itertools.product((0, width, 2 * width), repeat=2):
            lined |= area & ~around[down : down + high, across : across + wide]
    return lined
