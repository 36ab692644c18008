"""Pictures of a run: class balance, learning curves, confusion matrices.

Figures are made without pyplot, whose global state would keep every one of them in memory. Colours are from
the Okabe–Ito set, which colour-blind readers can tell apart.
"""

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.common.files import written_whole
from skinlesion_cli.common.text import printable, shortened
from skinlesion_cli.data.class_balance import ClassBalance
from skinlesion_cli.report.figures import whole_percent

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
DPI = 150
LONGEST_NAME = 48
"""Characters of a class's name in a picture; a longer one would leave no room for the data."""
LONGEST_WRAPPED = 120
"""Characters of a name that may take several lines."""
NUMBERED_CLASSES = 60
"""Classes up to which a confusion matrix has numbers; beyond, no one could read them."""


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; the suffix chooses the format."""
    with written_whole(path) as part, warnings.catch_warnings():
        # A class may be named in a script that matplotlib's own font does not have: it draws boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(part, dpi=DPI, bbox_inches="tight", pad_inches=0.15)


def class_weights(table: Sequence[ClassBalance], path: Path, *, beta: float, alpha: float) -> None:
    """Draw each class's count, loss weight and sampling probability, the largest class on top."""
    rows = sorted(table, key=lambda one: one.count)
    names = [plain(one.name) for one in rows]
    figure = Figure(figsize=(12, 1.6 + 0.34 * len(rows)), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharey=True)
    _bars(left, names, [one.count for one in rows], GREY, "{:,.0f}")
    left.set_xscale("log")
    left.set_xlim(left.get_xlim()[0], max(one.count for one in rows) * 4)
    left.set_title("Training images (log scale)")
    _bars(middle, names, [one.weight for one in rows], ORANGE, "{:.2f}")
    middle.set_title(f"Loss weight, β = {beta:g}")
    probabilities, shares = [one.sampling_probability for one in rows], [one.share for one in rows]
    farther = [max(pair) for pair in zip(probabilities, shares, strict=True)]
    _bars(right, names, probabilities, BLUE, "{:.1%}", text_at=farther)
    right.plot(shares, range(len(rows)), "|", color="black", markersize=11, label="share of the images")
    right.set_xlim(0, max(farther) * 1.18)
    right.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    right.legend(frameon=False, loc="lower right")
    right.set_title(f"Sampling probability, α = {alpha:g}")
    save_figure(figure, path)


def _bars(
    axes: Axes,
    names: list[str],
    values: Sequence[float],
    colour: str,
    text: str,
    text_at: Sequence[float] | None = None,
) -> None:
    """Horizontal bars, each with its value behind its end, or behind `text_at`."""
    axes.barh(names, values, color=colour, height=0.72)
    for row, (value, end) in enumerate(zip(values, text_at or values, strict=True)):
        axes.annotate(
            text.format(value), (end, row), (5, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.margins(x=0.14)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def learning_curves(history: Sequence[EpochRecord], path: Path) -> None:
    """Draw loss and scores over the epochs; a line marks the epoch that is kept."""
    epochs = [record.epoch for record in history]
    best = max((record.epoch for record in history if record.best), default=0)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    loss, scores = figure.subplots(1, 2)
    marker = "o" if len(epochs) <= 40 else ""
    style: dict[str, Any] = {"marker": marker, "markersize": 3.5, "linewidth": 1.6}
    loss.plot(epochs, [one.train_loss for one in history], color=GREY, label="training", **style)
    loss.plot(epochs, [one.val_loss for one in history], color=BLUE, label="validation", **style)
    loss.set_title("Weighted cross-entropy")
    scores.plot(
        epochs, [one.train_accuracy for one in history], color=GREY, label="training accuracy", **style
    )
    scores.plot(
        epochs, [one.val_accuracy for one in history], color=BLUE, label="validation accuracy", **style
    )
    scores.plot(
        epochs,
        [one.val_weighted_f1 for one in history],
        color=ORANGE,
        label="validation weighted F1",
        **style,
    )
    scores.set_title("Scores (training: on the drawn, augmented images)")
    scores.set_ylim(0, 1)
    for axes in (loss, scores):
        axes.axvline(best, color=GREEN, linewidth=1, linestyle="--", label=f"kept: epoch {best}")
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    save_figure(figure, path)


def reliability(section: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy against confidence, bin by bin, over the number of images in each bin.

    Args:
        section: `calibration` of an evaluation's document.
        path: the picture.
    """
    bins = [one for one in section["reliability"] if one["count"]]
    final = section["after"] or section["before"]
    figure = Figure(figsize=(5.2, 6.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfectly calibrated")
    most = max((one["count"] for one in bins), default=1)
    # Not joined by a line: a bin of one image would draw as bold a zigzag as one of a thousand.
    upper.scatter(
        [one["confidence"] for one in bins],
        [one["accuracy"] for one in bins],
        s=[20 + 160 * one["count"] / most for one in bins],
        color=BLUE,
        alpha=0.85,
        clip_on=False,
        zorder=3,
        label="the model (larger: more images)",
    )
    upper.set_ylabel("Accuracy of the answers")
    upper.set_ylim(-0.02, 1.02)
    upper.legend(frameon=False, loc="upper left")
    temperature = section["temperature"]
    at = "" if temperature is None else f", temperature {temperature:.2f}"
    error = "" if final["ece"] is None else f"Expected calibration error {final['ece']:.3f}"
    upper.set_title(f"{error}{at}", fontsize=10)
    widths = [one["high"] - one["low"] for one in section["reliability"]]
    lower.bar(
        [one["low"] for one in section["reliability"]],
        [one["count"] for one in section["reliability"]],
        width=widths,
        align="edge",
        color=GREY,
        edgecolor="white",
    )
    lower.set_ylabel("Images")
    lower.set_xlabel("Confidence")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str], title: str, path: Path) -> None:
    """Draw a confusion matrix twice: counts, and each row as shares of its class.

    Args:
        confusion: (classes, classes), rows true, columns predicted.
        classes: their names.
        title: what was scored.
        path: the picture.
    """
    support = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, support, out=np.zeros(confusion.shape), where=support > 0)
    side = 2.6 + 0.42 * min(len(classes), NUMBERED_CLASSES)
    figure = Figure(figsize=(2 * side, side), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, sharey=True)
    # Counts are coloured by share as well: by count, the largest class would be all that is seen.
    _cells(left, shares, [[f"{value:d}" if value else "" for value in row] for row in confusion], classes)
    left.set_title("Images")
    left.set_ylabel("True class")
    image = _cells(
        right, shares, [[whole_percent(value) if value else "" for value in row] for row in shares], classes
    )
    right.set_title("Percent of the true class")
    bar = figure.colorbar(
        image, ax=[left, right], shrink=0.7, pad=0.01, format=lambda value, _: f"{value:.0%}"
    )
    bar.set_label("Share of the true class")
    save_figure(figure, path)


def _cells(axes: Axes, shares: np.ndarray, texts: list[list[str]], classes: Sequence[str]) -> Any:
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 8 if len(classes) <= 20 else 5
    for row, cells in enumerate(texts if len(classes) <= NUMBERED_CLASSES else []):
        for column, text in enumerate(cells):
            colour = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    names = [plain(name) for name in classes]
    # Of very many classes, so many names as have room.
    shown = range(0, len(names), 1 + len(names) // (2 * NUMBERED_CLASSES))
    names = [names[place] for place in shown]
    axes.set_xticks(shown, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(shown, names)
    axes.set_xlabel("Predicted class")
    return image


def plain(name: str) -> str:
    """A class's name as matplotlib must be given it: one short line; a dollar sign would start a formula."""
    return unformatted(shortened(printable(name), LONGEST_NAME))


def wrapped(name: str, width: int, after: str = "") -> str:
    """A name, and what is said of it, in lines of at most `width` characters; a very long name is cut."""
    return "\n".join(textwrap.wrap(shortened(printable(name), LONGEST_WRAPPED) + after, width))


def unformatted(text: str) -> str:
    """Text, of one line or several, as matplotlib must be given it: a dollar sign would start a formula."""
    return text.replace("$", r"\$")
