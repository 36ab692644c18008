"""The Grad-CAM figure: the photograph, and beside it the maps, aligned with the pixels that the model saw."""

import math
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from skinlesion_cli.report.drawing import save_figure
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.report.heatmaps import ALPHA
from skinlesion_cli.report.heatmaps.captions import folded, text_of, true_class, verdict
from skinlesion_cli.report.heatmaps.paint import bar_colours, painted
from skinlesion_cli.saliency.cam_methods import METHODS
from skinlesion_cli.saliency.explanation import Explanation

PANEL_INCHES = 5.0
SMALL_PANEL_INCHES = 3.4
"""With more than two panels."""
COLUMNS = 4
CHARACTERS_PER_INCH = 11
"""Maximum length of a title that does not run into its neighbour."""
MAX_PIXELS = 1600
MAP_PIXELS = 1000
FRAME: dict[str, Any] = {"fill": False, "edgecolor": "white", "linewidth": 1.6, "linestyle": (0, (4, 3))}


def draw_overlay(explanations: Sequence[Explanation], path: Path, **options: Any) -> None:
    """Save `overlay`, with its options, to a file; the suffix determines the format."""
    save_figure(overlay(explanations, **options), path)


def overlay(
    explanations: Sequence[Explanation],
    *,
    alpha: float = ALPHA,
    smooth: bool = False,
    name: str = "Photograph",
    true: str | None = None,
) -> Figure:
    """One photograph, and beside it the photograph under each map, drawn as in `painted`.

    All panels show the whole photograph at its own aspect ratio, with a frame around what the model saw.
    `name` and `true`, the true class, are above the photograph.
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
    characters = round(inches * CHARACTERS_PER_INCH)
    known = [line for text in (true_class(true), verdict(first, true)) for line in folded(text, characters)]
    named = folded(name, characters, most=3, keep_end=True)
    _set_title(grid[0], [*named, *known, "dashed: what the model saw"])
    mapped = grid[1:panels]
    for axes, one in zip(mapped, explanations, strict=True):
        extent = (one.frame.left, one.frame.right, one.frame.bottom, one.frame.top)
        drawn = painted(one, (MAP_PIXELS, MAP_PIXELS), alpha=alpha, smooth=smooth)
        # With any other resampling, colours of the lines would be mixed with those of the photograph.
        axes.imshow(drawn, extent=extent, interpolation="nearest", zorder=2)
        _set_title(axes, _title(one, characters))
    colours, steps = bar_colours()
    beside = mapped[0] if panels == 2 else list(grid)
    shrink = 0.85 if rows == 1 else 0.5
    bar = figure.colorbar(ScalarMappable(steps, colours), ax=beside, shrink=shrink, pad=0.02)
    bar.set_label(f"Evidence for the class ({METHODS[first.method].title}, relative)", fontsize=9)
    return figure


def _draw_photograph(axes: Axes, explanation: Explanation) -> None:
    width, height = explanation.image.size
    # No more pixels than a page can show.
    shown = explanation.image.copy()
    shown.thumbnail((MAX_PIXELS, MAX_PIXELS))
    # Coordinates are the photograph's own pixels, so the frame's edges need no rounding.
    axes.imshow(shown, extent=(0, width, height, 0), interpolation="antialiased")
    left, top, right, bottom = astuple(explanation.frame.within((width, height)))
    outline = [Stroke(linewidth=3.2, foreground="black", alpha=0.55), Normal()]
    frame = Rectangle((left, top), right - left, bottom - top, **FRAME, path_effects=outline, clip_on=False)
    axes.add_patch(frame)


def _set_title(axes: Axes, lines: Sequence[str]) -> None:
    axes.set_title(text_of(lines), fontsize=10)


def _title(one: Explanation, characters: int) -> list[str]:
    lines = folded(f"{one.label}, probability {probability_text(one.confidence)}", characters)
    if not one.heat.any():
        lines.append("empty: no positive evidence")
    if (areas := one.faithfulness) is not None:
        lines.append(f"deletion {areas.deletion:.2f} (random {areas.random_deletion:.2f})")
        lines.append(f"insertion {areas.insertion:.2f} (random {areas.random_insertion:.2f})")
    return lines
