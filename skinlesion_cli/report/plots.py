"""The figures of a run. Functions named `plot_…` draw on axes; the others return a whole figure."""

import textwrap
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.data.class_balance import ClassBalance
from skinlesion_cli.metrics.arrays import Floats, Ints
from skinlesion_cli.report.drawing import BLUE, GREEN, GREY, ORANGE, PALE, plain
from skinlesion_cli.report.figures import OPERATING_POINTS, number, percent, whole_percent

Plot = Callable[[Axes], None]
"""Draws on axes: what a page and a file share."""
WIDE, SMALL = (4.7, 3.3), (2.3, 2.2)
"""Sizes in inches of a single figure, and of one among many."""
HOLLOW: dict[str, Any] = {"color": ORANGE, "markerfacecolor": "white", "markersize": 7, "clip_on": False}
MAX_MARKED_EPOCHS = 40
MAX_NUMBERED_CLASSES = 60
"""Maximum number of classes for which a confusion matrix shows numbers; with more, they would be
illegible."""


def single(plot: Plot, size: tuple[float, float] = WIDE) -> Figure:
    """A figure with one set of axes."""
    figure = Figure(figsize=size)
    # Margins that fit the tick labels: a layout engine would take as long as the drawing itself.
    left, top = (0.52, 0.96) if size == SMALL else (0.7, 0.84)
    left, bottom = left / size[0], 0.45 / size[1]
    plot(figure.add_axes((left, bottom, 0.97 - left, top - bottom)))
    return figure


def class_weights(table: Sequence[ClassBalance], *, beta: float, alpha: float) -> Figure:
    """Count, loss weight and sampling probability of each class, the largest on top; bars start at 0."""
    rows = sorted(table, key=lambda one: one.count)
    figure = Figure(figsize=(12, 1.6 + 0.34 * len(rows)), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharey=True, gridspec_kw={"wspace": 0.06})
    left.set_yticks(range(len(rows)), [plain(one.name) for one in rows])
    _bars(left, [one.count for one in rows], GREY, "{:,.0f}")
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    left.set_title("Training images")
    _bars(middle, [one.weight for one in rows], ORANGE, "{:.2f}")
    middle.set_title(f"Loss weight, β = {beta:g}")
    probabilities, shares = [one.sampling_probability for one in rows], [one.share for one in rows]
    # The values are in a column to the right of all bars and lines, so that each clearly belongs to its bar.
    end = max(*probabilities, *shares)
    _bars(right, probabilities, BLUE, "{:.1%}", [1.05 * end] * len(rows))
    right.plot(shares, range(len(rows)), "|", color="black", markersize=11, label="share of the images")
    right.set_xlim(0, end * 1.25)
    right.xaxis.set_major_formatter(PercentFormatter(1, 0))
    # Below the axis, where it covers no bar.
    right.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0), borderaxespad=2.2)
    right.set_title(f"Sampling probability, α = {alpha:g}")
    return figure


def _bars(axes: Axes, values: Sequence[float], colour: str, text: str, ends: Sequence[float] = ()) -> None:
    """Horizontal bars, each with its value after its end, or after the given end."""
    places = range(len(values))
    axes.barh(places, values, color=colour, height=0.72)
    texts = [text.format(value) for value in values]
    axes.bar_label(axes.barh(places, ends or values, color="none"), texts, padding=5, fontsize=8)
    axes.margins(x=0.16)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def learning_curves(history: Sequence[EpochRecord]) -> Figure:
    """Loss and scores over the epochs."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, plot in zip(figure.subplots(1, 2), (plot_loss, plot_scores), strict=True):
        plot(axes, history)
    return figure


def plot_loss(axes: Axes, history: Sequence[EpochRecord]) -> None:
    """Training and validation loss of each epoch."""
    lines = {"train_loss": ("training", GREY), "val_loss": ("validation", BLUE)}
    _plot_epochs(axes, history, lines, "Weighted cross-entropy")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def plot_scores(axes: Axes, history: Sequence[EpochRecord]) -> None:
    """Training accuracy (on the sampled, augmented images), validation accuracy and weighted F1."""
    lines = {
        "train_accuracy": ("training accuracy", GREY),
        "val_accuracy": ("validation accuracy", BLUE),
        "val_weighted_f1": ("validation weighted F1", ORANGE),
    }
    _plot_epochs(axes, history, lines, "Score")
    axes.set_ylim(0, 1)


def _plot_epochs(
    axes: Axes, history: Sequence[EpochRecord], lines: Mapping[str, tuple[str, str]], label: str
) -> None:
    """A line per field of the records, with its name and colour, and a line at the best epoch."""
    marker = "o" if len(history) <= MAX_MARKED_EPOCHS else ""
    for name, (text, colour) in lines.items():
        x, y = [one.epoch for one in history], [getattr(one, name) for one in history]
        # Lines also differ in more than colour.
        style = "--" if colour == GREY else "-"
        axes.plot(x, y, style, color=colour, label=text, linewidth=1.6, marker=marker, markersize=3.5)
    best = max((record.epoch for record in history if record.best), default=0)
    axes.axvline(best, color=GREEN, linewidth=1.2, linestyle=":", label=f"best: epoch {best}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="Epoch", ylabel=label)
    _open_axes(axes)
    _legend(axes)


def plot_reliability(axes: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    """Accuracy against confidence, one dot per bin with its interval: `reliability` of a document.

    There is no legend: its dot would look like a data point.
    """
    filled = [(one["confidence"], one["accuracy"], one["count"]) for one in bins if one["count"]]
    confidence, accuracy, count = np.array(filled, dtype=float).reshape(-1, 3).T
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    # Not connected by a line: a bin of one image would look as important as one of a thousand.
    size = 20 + 160 * count / count.max(initial=1)
    axes.scatter(confidence, accuracy, size, BLUE, alpha=0.85, clip_on=False, zorder=3)
    known = [(one["confidence"], *one["ci95"]) for one in bins if one.get("ci95")]
    axes.vlines(*np.array(known).reshape(-1, 3).T, color=BLUE, linewidth=1.2, clip_on=False)
    _share_axes(axes, "Confidence", "Accuracy")


def plot_confidences(axes: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    """Number of images in each bin of confidence: `reliability` of a calibration document."""
    lows, counts = [one["low"] for one in bins], [one["count"] for one in bins]
    widths = [one["high"] - one["low"] for one in bins]
    axes.bar(lows, counts, width=widths, align="edge", color=GREY, edgecolor="white")
    axes.set(xlabel="Confidence", ylabel="Images", xlim=(0, 1))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    _open_axes(axes)


def reliability(document: Mapping[str, Any]) -> Figure:
    """The reliability diagram above the distribution of confidence: `calibration` of a document."""
    figure = Figure(figsize=(5.2, 6.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    plot_reliability(upper, document["reliability"])
    plot_confidences(lower, document["reliability"])
    upper.set_xlabel("")
    error = (document["after"] or document["before"])["ece"]
    parts = [] if error is None else [f"Expected calibration error {error:.3f}"]
    if document["temperature"] is not None:
        parts.append(f"temperature {document['temperature']:.2f}")
    key = "dashed: perfect calibration; lines: 95% intervals; larger dots: more images"
    figure.suptitle(", ".join(parts), fontsize=10)
    upper.set_title(key, fontsize=8, color=GREY)
    return figure


def plot_roc(axes: Axes, rate: Floats, sensitivity: Floats) -> None:
    """An ROC curve: sensitivity against false-positive rate, both in [0, 1], with the diagonal of chance."""
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    axes.plot(rate, sensitivity, color=BLUE, linewidth=1.6)
    _share_axes(axes, "False-positive rate", "Sensitivity")


def plot_operating_points(axes: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    """Mark the operating points of a malignant document on an ROC curve, each with its own marker."""
    for position, point in enumerate(points):
        if point["sensitivity"] is not None and point["specificity"] is not None:
            at = [1 - point["specificity"]], [point["sensitivity"]]
            label = OPERATING_POINTS.get(point["name"], point["name"])
            axes.plot(*at, "os^Dv"[position % 5], **HOLLOW, markeredgewidth=1.5, label=label)
    if axes.get_legend_handles_labels()[0]:
        _legend(axes)


def plot_precision_recall(axes: Axes, recall: Floats, precision: Floats, share: float) -> None:
    """A precision–recall curve, with the share of the class in the images: the precision of chance.

    It is drawn in steps, because there is no threshold between two neighbouring ones.
    """
    # Once the recall is 1, lower thresholds only add false positives.
    end = int(np.argmax(recall >= 1)) + 1 if (recall >= 1).any() else len(recall)
    axes.axhline(share, color=GREY, linewidth=1, linestyle=":")
    x, y = np.append(0.0, recall[:end]), np.append(precision[0], precision[:end])
    axes.plot(x, y, drawstyle="steps-pre", color=ORANGE, linewidth=1.6)
    _share_axes(axes, "Recall", "Precision")


def plot_risk_coverage(
    axes: Axes, points: Sequence[Sequence[float]], target: Mapping[str, Any] | None = None
) -> None:
    """Risk against coverage, from pairs of coverage and risk; the `target` is marked if it was reached."""
    coverage, risk = zip(*points, strict=True)
    axes.plot(coverage, risk, color=BLUE, linewidth=1.6)
    if target and target["coverage"] is not None and target["accuracy_reached"] is not None:
        label = f"threshold for {percent(target['accuracy'], 0)} accuracy"
        at = [target["coverage"]], [1 - target["accuracy_reached"]]
        axes.plot(*at, "o", **HOLLOW, label=label)
        _legend(axes)
    axes.set(xlabel="Coverage: share of images answered", ylabel="Risk: error rate on the answered images")
    axes.set(xlim=(0, 1), ylim=(0, None))
    _open_axes(axes)


def confusion_matrix(confusion: Ints, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix (rows true, columns predicted): counts and totals, and each row as shares of it."""
    support = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, support, out=np.zeros(confusion.shape), where=support > 0)
    side = 2.9 + 0.42 * min(max(4, len(classes)), MAX_NUMBERED_CLASSES)
    figure = Figure(figsize=(2 * side, side), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, sharey=True)
    # Counts are not shaded: only the largest class would be visible. The shares are shaded.
    _cells(left, np.zeros_like(shares), confusion, "{:d}".format, classes, "binary")
    left.set_title("Images")
    left.set_ylabel("True class")
    if len(classes) <= MAX_NUMBERED_CLASSES:
        _totals(left, support[:, 0])
    image = _cells(right, shares, shares, whole_percent, classes)
    right.set_title("Percent of the true class")
    bar = figure.colorbar(image, ax=[left, right], shrink=0.7, pad=0.01, format=PercentFormatter(1, 0))
    bar.set_label("Share of the true class")
    return figure


def _cells(
    axes: Axes,
    shades: Floats,
    values: NDArray[Any],
    text: Callable[[Any], str],
    classes: Sequence[str],
    colours: str = "Blues",
) -> Any:
    """Draw the cells with their values; a 0 off the diagonal is left out."""
    image = axes.imshow(shades, cmap=colours, vmin=0, vmax=1)
    for row, cells in enumerate(values if len(classes) <= MAX_NUMBERED_CLASSES else []):
        for column, value in enumerate(cells):
            inside = text(value) if value or row == column else ""
            colour = "white" if shades[row, column] > 0.55 else "black"
            axes.text(column, row, inside, ha="center", va="center", color=colour, fontsize=_size(classes))
    # With very many classes, only as many names as fit.
    shown = range(0, len(classes), 1 + len(classes) // (2 * MAX_NUMBERED_CLASSES))
    names = ["\n".join(textwrap.wrap(plain(classes[place]), 26, break_long_words=False)) for place in shown]
    axes.set_xticks(shown, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(shown, names)
    axes.set_xlabel("Predicted class")
    axes.tick_params(length=0)
    axes.spines[:].set_color(PALE)
    return image


def _totals(axes: Axes, totals: Ints) -> None:
    """Frame the diagonal, and write the number of images of each true class to the right of its row."""
    frame: dict[str, Any] = {"fill": False, "edgecolor": GREY, "linewidth": 0.8, "zorder": 3}
    for corner in np.arange(len(totals)) - 0.5:
        axes.add_patch(Rectangle((corner, corner), 1, 1, **frame))
    look: dict[str, Any] = {"textcoords": "offset points", "color": GREY, "fontsize": _size(totals)}
    edge = len(totals) - 0.5
    axes.annotate("n", (edge, -0.5), (6, 5), annotation_clip=False, **look)
    for row, total in enumerate(totals):
        axes.annotate(number(total), (edge, row), (6, 0), va="center", annotation_clip=False, **look)


def _size(classes: Sized) -> float:
    return 8 if len(classes) <= 20 else 5


def _share_axes(axes: Axes, x: str, y: str) -> None:
    """Both axes from 0 to 1."""
    small = axes.bbox.width / axes.figure.dpi < SMALL[0]
    ticks = (0, 0.5, 1) if small else (0, 0.25, 0.5, 0.75, 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
    _open_axes(axes)


def _open_axes(axes: Axes) -> None:
    """Horizontal grid lines in place of a frame and of tick marks."""
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=GREY)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _legend(axes: Axes) -> None:
    """Names above the axes, where they cover no data."""
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    axes.legend(**place, ncols=2, frameon=False, fontsize=9)
