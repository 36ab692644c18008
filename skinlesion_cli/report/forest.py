"""A forest plot of subgroups: a row for each, and a panel for each score, on one scale from 0 to 1."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skinlesion_cli.common.text import shortened
from skinlesion_cli.report.drawing import BLUE, GREY, PALE, plain
from skinlesion_cli.report.figures import UNDEFINED, number
from skinlesion_cli.report.plots import WIDE, Plot

ROW, AROUND = 0.24, 0.75
"""Heights in inches of a row, and of the space above and below the rows."""
_NAMES, _BETWEEN = 0.4, 0.05
"""Shares of the width for names and counts, and between two panels."""
_MAX_NAME = 24
_SIZE = 8
_CLEAR = {"facecolor": "#FFFFFF", "edgecolor": "none", "pad": 1.0}


def named(plot: Plot, height: float) -> Figure:
    """A figure of full width whose axes fill it, because the names are inside the axes."""
    figure = Figure(figsize=(WIDE[0], height))
    plot(figure.add_axes((0.01, 0.01, 0.98, 0.98)))
    return figure


def plot_subgroups(
    axes: Axes,
    subgroups: Mapping[str, Mapping[str, Any]],
    panels: Mapping[str, tuple[str, float | None]],
) -> None:
    """Draw each subgroup's scores with their intervals.

    `subgroups` are those of one column in an evaluation document; `panels` give, by title, the score's name
    and its value over all images, which is a dashed line.
    """
    rows, last = list(subgroups.items()), len(subgroups)
    width = (1 - _NAMES - _BETWEEN * (len(panels) - 1)) / len(panels)
    axes.set(xlim=(0, 1.01), ylim=(last + 0.8, -2.0))
    axes.set_axis_off()
    text: dict[str, Any] = {"fontsize": _SIZE, "va": "center"}
    axes.text(_NAMES - 0.03, -0.9, "n", ha="right", color=GREY, **text)
    for place, (name, one) in enumerate(rows):
        axes.text(0, place, plain(shortened(name, _MAX_NAME)), **text)
        axes.text(_NAMES - 0.03, place, number(one["n"]), ha="right", color=GREY, **text)
    for position, (title, (metric, whole)) in enumerate(panels.items()):
        left = _NAMES + position * (width + _BETWEEN)
        axes.text(left, -1.5, title, **text)
        for tick in (0.0, 0.5, 1.0):
            at = left + tick * width
            axes.plot([at, at], [-0.6, last - 0.4], color=PALE, linewidth=0.8, zorder=0)
            axes.text(at, last + 0.2, f"{tick:g}", ha="center", color=GREY, **text)
        if whole is not None:
            at = left + whole * width
            axes.plot([at, at], [-0.6, last - 0.4], color=GREY, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
        for place, (_, one) in enumerate(rows):
            if one[metric] is None:
                gone = "withheld" if one["withheld"] else UNDEFINED
                axes.text(left + width / 2, place, gone, ha="center", color=GREY, bbox=_CLEAR, **text)
                continue
            low, high = one["ci95"][metric] or (one[metric],) * 2
            axes.plot([left + low * width, left + high * width], [place] * 2, color=BLUE, linewidth=1.6)
            axes.plot(left + one[metric] * width, place, "o", color=BLUE, markersize=4.5)
