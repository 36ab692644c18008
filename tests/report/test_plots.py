"""Figures show what they should: axes, names, ranges and values, with any class names and with very many."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.data.class_balance import balance_table
from skinlesion_cli.report import plots
from skinlesion_cli.report.drawing import plain, save_figure
from tests.support.pictures import pixels, pixels_of

HISTORY = [
    EpochRecord(epoch, 2.0 / epoch, 0.5, 1.5, 0.6, 0.5 + epoch / 10, 3e-4, epoch < 3) for epoch in (1, 2, 3)
]
BINS = [
    {"low": 0.0, "high": 0.5, "count": 0, "confidence": None, "accuracy": None},
    {"low": 0.5, "high": 0.75, "count": 2, "confidence": 0.6, "accuracy": 0.5, "ci95": [0.1, 0.9]},
    {"low": 0.75, "high": 1.0, "count": 8, "confidence": 0.9, "accuracy": 0.75},
]


def labels(figure: Figure) -> list[tuple[str, str]]:
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]


def legend(axes: object) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_learning_curves_show_every_epoch_and_the_best() -> None:
    figure = plots.learning_curves(HISTORY)
    assert labels(figure) == [("Epoch", "Weighted cross-entropy"), ("Epoch", "Score")]
    loss, scores = figure.axes
    assert legend(loss) == ["training", "validation", "best: epoch 2"]
    assert legend(scores) == [
        *("training accuracy", "validation accuracy", "validation weighted F1", "best: epoch 2")
    ]
    training, validation, best = loss.lines
    assert training.get_xydata().tolist() == [[1, 2.0], [2, 1.0], [3, 2 / 3]]
    assert validation.get_xydata().tolist() == [[1, 1.5], [2, 1.5], [3, 1.5]]
    assert list(best.get_xdata()) == [2, 2]
    assert scores.lines[2].get_ydata() == pytest.approx([0.6, 0.7, 0.8])
    assert (loss.get_ylim()[0], scores.get_ylim()) == (0, (0, 1))
    # Epochs are whole numbers, however few.
    ticks = plots.learning_curves(HISTORY[:1]).axes[0].get_xticks()
    assert len(ticks)
    assert all(tick == round(tick) for tick in ticks)
    # Lines that share a chart differ by more than their colour.
    assert [one.get_linestyle() for one in loss.lines] == ["--", "-", ":"]


def test_the_reliability_diagram_shows_the_bins_that_hold_images() -> None:
    document = {"reliability": BINS, "before": {"ece": 0.2}, "after": None, "temperature": None}
    figure = plots.reliability(document)
    assert labels(figure) == [("", "Accuracy"), ("Confidence", "Images")]
    upper, lower = figure.axes
    assert upper.collections[0].get_offsets().tolist() == [[0.6, 0.5], [0.9, 0.75]]
    assert upper.collections[0].get_sizes().tolist() == [60, 180]
    # A legend's dot would look like a bin, and its place like an accuracy.
    assert upper.get_legend() is None
    assert "dashed: perfect calibration" in upper.get_title()
    (lines,) = upper.collections[1:]
    assert [one.tolist() for one in lines.get_segments()] == [[[0.6, 0.1], [0.6, 0.9]]]
    assert [(one.get_x(), one.get_width(), one.get_height()) for one in lower.patches] == [
        *((0.0, 0.5, 0), (0.5, 0.25, 2), (0.75, 0.25, 8)),
    ]
    assert figure.get_suptitle() == "Expected calibration error 0.200"
    calibrated = document | {"after": {"ece": 0.1}, "temperature": 1.5}
    title = plots.reliability(calibrated).get_suptitle()
    assert title == "Expected calibration error 0.100, temperature 1.50"


def test_class_weights_show_counts_weights_and_probabilities() -> None:
    rows = balance_table({"rare": 10, "common": 90}, 0.999, 0.5)
    figure = plots.class_weights(rows, beta=0.999, alpha=0.5)
    assert [axes.get_title() for axes in figure.axes] == [
        *("Training images", "Loss weight, β = 0.999", "Sampling probability, α = 0.5"),
    ]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["rare", "common"]
    widths = [[bar.get_width() for bar in axes.containers[0]] for axes in figure.axes]
    assert [text.get_text() for text in figure.axes[0].texts] == ["10", "90"]
    assert [text.get_text() for text in figure.axes[2].texts] == ["25.0%", "75.0%"]
    assert widths[0] == [10, 90]
    assert widths[1] == pytest.approx([one.weight for one in rows])
    assert widths[2] == pytest.approx([0.25, 0.75])
    # Bars are read by their length: 17 against 21 must not look like 1 to 8.
    assert {axes.get_xscale() for axes in figure.axes} == {"linear"}
    assert {axes.get_xlim()[0] for axes in figure.axes} == {0}
    # No value stands outside its axes.
    for axes, values in zip(figure.axes, widths, strict=True):
        low, high = axes.get_xlim()
        assert low < min(values) < max(values) < high
    assert legend(figure.axes[2]) == ["share of the images"]


def test_an_roc_curve_and_its_operating_points() -> None:
    points = [
        {"name": "decision", "sensitivity": 0.7, "specificity": 0.9},
        {"name": "youden", "sensitivity": None, "specificity": None},
        {"name": "specificity_95", "sensitivity": 0.5, "specificity": 0.95},
    ]

    def plot(axes: object) -> None:
        plots.plot_roc(axes, np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.0]))
        plots.plot_operating_points(axes, points)

    (axes,) = plots.single(plot).axes
    chance, curve, *marks = axes.lines
    assert labels(axes.figure) == [("False-positive rate", "Sensitivity")]
    assert list(chance.get_ydata()) == [0, 1]
    assert curve.get_xydata().tolist() == [[0, 0], [0.5, 1], [1, 1]]
    assert [one.get_xydata().tolist()[0] for one in marks] == [
        pytest.approx([0.1, 0.7]),
        pytest.approx([0.05, 0.5]),
    ]
    assert len({one.get_marker() for one in marks}) == 2
    assert legend(axes) == ["predicted class", "at 95% specificity"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "0.25", "0.5", "0.75", "1"]
    (small,) = plots.single(plot, plots.SMALL).axes
    assert [text.get_text() for text in small.get_xticklabels()] == ["0", "0.5", "1"]


def test_a_precision_recall_curve_is_drawn_in_steps_to_recall_1() -> None:
    recall, precision = np.array([0.5, 1.0, 1.0]), np.array([1.0, 0.5, 0.25])
    (axes,) = plots.single(lambda axes: plots.plot_precision_recall(axes, recall, precision, 0.25)).axes
    chance, curve = axes.lines
    assert list(chance.get_ydata()) == [0.25, 0.25]
    assert curve.get_drawstyle() == "steps-pre"
    assert curve.get_xydata().tolist() == [[0, 1], [0.5, 1], [1, 0.5]]
    assert labels(axes.figure) == [("Recall", "Precision")]


def test_risk_and_coverage_with_and_without_a_target() -> None:
    points = [[0.5, 0.1], [1.0, 0.3]]
    target = {"accuracy": 0.9, "coverage": 0.5, "accuracy_reached": 0.9}
    (axes,) = plots.single(lambda axes: plots.plot_risk_coverage(axes, points, target)).axes
    curve, mark = axes.lines
    assert curve.get_xydata().tolist() == points
    assert mark.get_xydata().tolist()[0] == pytest.approx([0.5, 0.1])
    assert legend(axes) == ["threshold for 90% accuracy"]
    assert (axes.get_xlim(), axes.get_ylim()[0]) == ((0, 1), 0)
    (axes,) = plots.single(lambda axes: plots.plot_risk_coverage(axes, points)).axes
    assert len(axes.lines) == 1
    assert axes.get_legend() is None


def test_a_confusion_matrix_shows_counts_and_percentages() -> None:
    figure = plots.confusion_matrix(
        np.array([[3, 1, 0], [0, 0, 0], [1, 399, 0]]), ["a", "b", "c"], "Test split"
    )
    counts, shares, bar = figure.axes
    assert figure.get_suptitle() == "Test split"
    assert (counts.get_title(), counts.get_ylabel()) == ("Images", "True class")
    assert (shares.get_title(), shares.get_xlabel()) == ("Percent of the true class", "Predicted class")
    shown = [text.get_text() for text in counts.texts]
    assert shown == ["3", "1", "", "", "0", "", "1", "399", "0", "n", "4", "0", "400"]
    assert [text.get_text() for text in shares.texts] == ["75", "25", "", "", "0", "", "<1", "100", "0"]
    # A shade is a share of the true class, as the bar says; counts have none.
    assert not counts.images[0].get_array().any()
    assert [one.images[0].get_clim() for one in (counts, shares)] == [(0, 1), (0, 1)]
    assert shares.images[0].get_array().tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0.0025, 0.9975, 0]]
    assert [text.get_text() for text in counts.get_xticklabels()] == ["a", "b", "c"]
    # Light on dark and dark on light.
    assert [to_hex(text.get_color()) for text in shares.texts[:2]] == ["#ffffff", "#000000"]
    assert bar.get_ylabel() == "Share of the true class"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("nevus", "nevus"),
        ("$x^2$", r"\$x^2\$"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\udcff", r"\udcff"),
        ("x" * 300, "x" * 47 + "…"),
    ],
)
def test_a_name_is_one_short_line_and_no_formula(name: str, shown: str) -> None:
    assert plain(name) == shown


def test_a_matrix_of_odd_names_is_drawn_without_a_warning(tmp_path: Path) -> None:
    names = ["$a", "b\nb", "\udcff", "母斑", "\x1b[1m", "y" * 300, "{}", "\\frac"]
    figure = plots.confusion_matrix(np.eye(len(names), dtype=int), names, "test")
    shown = [r"\$a", r"b\nb", r"\udcff", "母斑", r"\x1b[1m", "y" * 47 + "…", "{}", r"\frac"]
    for axes in figure.axes[:2]:
        assert [text.get_text() for text in axes.get_xticklabels()] == shown
        assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 7.5), (7.5, -0.5))
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == shown
    save_figure(figure, tmp_path / "m.png")
    assert pixels(tmp_path / "m.png").shape[1] > 500
    # One cell in eight has the darkest blue, with a number on it; the others have the lightest.
    dark, light = (pixels_of(tmp_path / "m.png", colour) for colour in ((8, 48, 107), (247, 251, 255)))
    assert 0.11 < dark / (dark + light) < 0.125


def test_very_many_classes_make_no_larger_picture_than_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "MAX_NUMBERED_CLASSES", 8)
    eight, many = (
        plots.confusion_matrix(np.eye(count, dtype=int), [f"c{n}" for n in range(count)], "test")
        for count in (8, 300)
    )
    assert many.get_size_inches().tolist() == eight.get_size_inches().tolist()
    assert len(eight.axes[0].texts) == 64 + 1 + 8
    assert not many.axes[0].texts
    assert len(many.axes[0].get_xticklabels()) <= 17


def test_figures_are_not_kept_in_memory() -> None:
    import matplotlib.pyplot as plt

    plots.confusion_matrix(np.array([[3, 1], [0, 0]]), ["a", "b"], "Test")
    assert plt.get_fignums() == []


@pytest.mark.parametrize("counts", [{"a": 17, "b": 21}, {f"class {n}": 3**n for n in range(9)}])
def test_no_legend_label_or_tick_covers_another(counts: dict[str, int]) -> None:
    figure = plots.class_weights(balance_table(counts, 0.999, 0.5), beta=0.999, alpha=0.5)
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        ticks = [one.get_window_extent() for one in axes.get_xticklabels()]
        assert all(left.x1 + 4 < right.x0 for left, right in itertools.pairwise(ticks))
        bars = [bar.get_window_extent() for bar in axes.containers[0]]
        for text in axes.texts:
            box = text.get_window_extent()
            assert not any(box.overlaps(one) for one in bars)
    below = figure.axes[2].get_legend().get_window_extent()
    assert not any(below.overlaps(bar.get_window_extent()) for bar in figure.axes[2].containers[0])
