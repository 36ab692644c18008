"""The picture of a Grad-CAM: the whole photograph beside the map, laid exactly on what the model saw."""

from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from skinlesion_cli.core.gradcam import Explanation
from skinlesion_cli.report.plots import plain, save_figure

PANEL_INCHES = 5.0
MAX_PIXELS = 1600
COLOURS = "inferno"


def draw_overlay(explanation: Explanation, path: Path, *, alpha: float) -> None:
    """Draw the photograph, and beside it the photograph under the map.

    Both panels show the whole photograph at its own aspect ratio, with the frame of what the model saw.

    Args:
        explanation: of one photograph.
        path: the picture.
        alpha: opacity of the map, in [0, 1].
    """
    width, height = explanation.image.size
    aspect = min(max(height / width, 0.4), 2.0)
    figure = Figure(figsize=(2 * PANEL_INCHES + 1.0, PANEL_INCHES * aspect + 0.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    shown = _shrunk(explanation.image)
    frame = explanation.frame
    for axes in (left, right):
        # Coordinates are the photograph's own pixels, so the frame's edges need no rounding.
        axes.imshow(shown, extent=(0, width, height, 0), interpolation="antialiased")
        axes.set_axis_off()
    right.imshow(
        explanation.heat,
        extent=(frame.left, frame.right, frame.bottom, frame.top),
        cmap=COLOURS,
        vmin=0,
        vmax=1,
        alpha=alpha,
        interpolation="bilinear",
    )
    for axes in (left, right):
        axes.add_patch(
            Rectangle(
                (frame.left, frame.top),
                frame.right - frame.left,
                frame.bottom - frame.top,
                fill=False,
                edgecolor="white",
                linewidth=1.6,
                linestyle=(0, (4, 3)),
                clip_on=False,
                path_effects=_dark_outline(),
            )
        )
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
    left.set_title("Photograph; dashed: what the model saw", fontsize=10)
    right.set_title(f"{plain(explanation.label)}, probability {explanation.confidence:.1%}", fontsize=10)
    # Its own scale: that of the map would be as pale as the map.
    scale = ScalarMappable(Normalize(0, 1), COLOURS)
    bar = figure.colorbar(scale, ax=right, shrink=0.85, pad=0.02)
    bar.set_label("Evidence for the class (Grad-CAM, relative)", fontsize=9)
    save_figure(figure, path)


def _shrunk(image: Image.Image) -> np.ndarray:
    """The photograph at no more pixels than a page can show."""
    copy = image.copy()
    copy.thumbnail((MAX_PIXELS, MAX_PIXELS))
    return np.asarray(copy)


def _dark_outline() -> list[object]:
    from matplotlib.patheffects import Stroke

    return [Stroke(linewidth=3.2, foreground="black", alpha=0.55), Stroke(linewidth=1.6, foreground="white")]
