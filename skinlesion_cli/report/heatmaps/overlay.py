"""The Grad-CAM picture: the photograph, and beside it the maps exactly on the pixels that the model saw."""

import math
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from skinlesion_cli.report.drawing import save_figure, without_formula, wrapped
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.saliency.cam_methods import METHODS
from skinlesion_cli.saliency.gradcam import Explanation

PANEL_INCHES = 5.0
SMALL_PANEL_INCHES = 3.4
"""With more than two panels."""
COLUMNS = 4
CHARACTERS_PER_INCH = 11
"""Of a title that does not run into its neighbour."""
MAX_PIXELS = 1600
COLOURS = "inferno"
FRAME: dict[str, Any] = {"fill": False, "edgecolor": "white", "linewidth": 1.6, "linestyle": (0, (4, 3))}


def draw_overlay(explanations: Sequence[Explanation], path: Path, *, alpha: float) -> None:
    """Save `overlay` to a file; the suffix chooses the format."""
    save_figure(overlay(explanations, alpha=alpha), path)


def overlay(explanations: Sequence[Explanation], *, alpha: float) -> Figure:
    """One photograph, and beside it the photograph under each map, with an opacity of `alpha` in [0, 1].

    All panels show the whole photograph at its own aspect ratio, with the frame of what the model saw.
    """
    first = explanations[0]
    panels = 1 + len(explanations)
    inches = PANEL_INCHES if panels == 2 else SMALL_PANEL_INCHES
    columns = min(panels, COLUMNS)
    rows = math.ceil(panels / columns)
    width, height = first.image.size
    aspect = min(max(height / width, 0.4), 2.0)
    figure = Figure(figsize=(columns * inches + 1.0, rows * (inches * aspect + 0.9)), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
        # The whole photograph stays in view, whatever is drawn.
        axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    for axes in grid[:panels]:
        _draw_photograph(axes, first)
    grid[0].set_title("Photograph\ndashed: what the model saw", fontsize=10)
    mapped = grid[1:panels]
    for axes, one in zip(mapped, explanations, strict=True):
        extent = (one.frame.left, one.frame.right, one.frame.bottom, one.frame.top)
        axes.imshow(one.heat, COLOURS, Normalize(0, 1), extent=extent, alpha=alpha, interpolation="bilinear")
        axes.set_title(without_formula(_title(one, round(inches * CHARACTERS_PER_INCH))), fontsize=10)
    # A scale of its own: that of a map would be as pale as the map.
    scale = ScalarMappable(Normalize(0, 1), COLOURS)
    beside = mapped[0] if panels == 2 else list(grid)
    bar = figure.colorbar(scale, ax=beside, shrink=0.85 if rows == 1 else 0.5, pad=0.02)
    bar.set_label(f"Evidence for the class ({METHODS[first.method].title}, relative)", fontsize=9)
    return figure


def _draw_photograph(axes: Axes, explanation: Explanation) -> None:
    width, height = explanation.image.size
    # No more pixels than a page can show.
    shown = explanation.image.copy()
    shown.thumbnail((MAX_PIXELS, MAX_PIXELS))
    # Coordinates are the photograph's own pixels, so the frame's edges need no rounding.
    axes.imshow(shown, extent=(0, width, height, 0), interpolation="antialiased")
    left, top, right, bottom = astuple(explanation.frame)
    outline = [Stroke(linewidth=3.2, foreground="black", alpha=0.55), Normal()]
    frame = Rectangle((left, top), right - left, bottom - top, **FRAME, path_effects=outline, clip_on=False)
    axes.add_patch(frame)


def _title(one: Explanation, characters: int) -> str:
    lines = [wrapped(one.label, characters, f", probability {probability_text(one.confidence)}")]
    if not one.heat.any():
        lines.append("empty: no positive evidence")
    if (areas := one.faithfulness) is not None:
        lines.append(f"deletion {areas.deletion:.2f} (random {areas.random_deletion:.2f})")
        lines.append(f"insertion {areas.insertion:.2f} (random {areas.random_insertion:.2f})")
    return "\n".join(lines)
