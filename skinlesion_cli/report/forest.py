"""Forest plots: the scores of subgroups on one scale from 0 to 1, and the differences between methods."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skinlesion_cli.common.text import shortened
from skinlesion_cli.report.drawing import BLUE, GREY, PALE, plain
from skinlesion_cli.report.figures import LABELS, UNDEFINED, number
from skinlesion_cli.report.plots import WIDE, Plot

ROW, AROUND = 0.24, 0.75
"""Heights in inches of a row, and of the space above and below the rows."""
_NAMES, _BETWEEN = 0.4, 0.05
"""Shares of the width for names and counts, and between two panels."""
_MAX_NAME = 24
_SIZE = 8
_CLEAR = {"facecolor": "#FFFFFF", "edgecolor": "none", "pad": 1.0}
OF_STUDY = ("weighted_f1", "macro_f1", "balanced_accuracy", "weighted_auc")
"""The scores of the forest plot: shares, on one axis, and higher is better."""


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


def of_study(document: Mapping[str, Any]) -> Figure:
    """The difference of each method from the first, with its interval: one row per method and score."""
    methods = len(document["differences"])
    made = Figure(figsize=(7.5, 1.3 + 0.34 * (methods + 0.6) * len(OF_STUDY)), layout="constrained")
    plot_study(made.subplots(), document)
    return made


def plot_study(axes: Axes, document: Mapping[str, Any]) -> None:
    """Draw `of_study` on axes."""
    place = 0.0
    # Names are above their lines, because there is no room beside them on a page.
    above: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "fontsize": 8}
    for metric in OF_STUDY:
        for name, scores in document["differences"].items():
            one = scores[metric]
            if one["difference"] is not None:
                low, high = one["ci95"] or (one["difference"],) * 2
                axes.plot([low, high], [place, place], color=BLUE, linewidth=1.6)
                axes.plot(one["runs"], [place] * len(one["runs"]), "|", color=GREY, markersize=7)
                axes.plot(one["difference"], place, "o", color=BLUE, markersize=6)
            label = f"{LABELS[metric]}, {plain(name)}"
            axes.annotate(label, (0, place), xycoords=axes.get_yaxis_transform(), **above)
            place += 1
        place += 0.6
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks([])
    axes.set_ylim(place - 1, -1)
    axes.set_xlabel(f"Difference from {plain(document['baseline'])}; line: 95% interval, ticks: single runs")
    axes.spines[["top", "right", "left"]].set_visible(False)
