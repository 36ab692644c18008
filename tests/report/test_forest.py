from typing import Any

import pytest
from matplotlib.figure import Figure

from skinlesion_cli.report.forest import OF_STUDY, of_study, plot_subgroups


def study(difference: float | None = 0.1) -> dict[str, Any]:
    one = {"difference": difference, "ci95": [0.05, 0.2], "runs": [0.08, 0.12]}
    return {"baseline": "paper", "differences": {"plain": dict.fromkeys(OF_STUDY, one)}}


def test_a_study_has_a_row_per_score_with_its_interval_and_runs() -> None:
    (axes,) = of_study(study()).axes
    assert axes.get_xlabel().startswith("Difference from paper;")
    labels = [text.get_text() for text in axes.texts]
    assert labels == [
        "Weighted F1, plain",
        "Macro F1, plain",
        "Balanced accuracy, plain",
        "Weighted AUC, plain",
    ]
    drawn = [list(line.get_xdata()) for line in axes.lines]
    assert drawn.count([0.05, 0.2]) == drawn.count([0.08, 0.12]) == drawn.count([0.1]) == 4
    # The line of no difference.
    assert drawn[-1] == [0, 0]
    heights = [line.get_ydata()[0] for line in axes.lines[0:-1:3]]
    assert heights == sorted(set(heights))
    bottom, top = axes.get_ylim()
    assert top < min(heights)
    assert max(heights) < bottom


def test_a_difference_that_is_undefined_has_a_row_without_marks() -> None:
    (axes,) = of_study(study(None)).axes
    assert len(axes.texts) == 4
    assert len(axes.lines) == 1


def test_a_subgroup_has_its_score_on_the_scale_of_its_panel() -> None:
    axes = Figure().add_axes((0, 0, 1, 1))
    known = {"n": 1200, "withheld": None, "recall": 0.5, "ci95": {"recall": [0.25, 0.75]}}
    few = {"n": 3, "withheld": "3 images, fewer than 20", "recall": None, "ci95": {"recall": None}}
    plot_subgroups(axes, {"female": known, "male": few}, {"Recall": ("recall", 0.5)})
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    counts, ticks = {"n", "1\N{NARROW NO-BREAK SPACE}200", "3"}, {"0", "0.5", "1"}
    assert set(texts) == {"female", "male", "Recall", "withheld"} | counts | ticks
    left, middle, right = (texts[tick][0] for tick in ("0", "0.5", "1"))
    interval, point = axes.lines[-2:]
    assert list(interval.get_xdata()) == pytest.approx([(left + middle) / 2, (middle + right) / 2])
    assert list(point.get_xdata()) == pytest.approx([middle])
    assert point.get_ydata()[0] == texts["female"][1]
    # Over all images, a dashed line.
    whole = axes.lines[-3]
    assert whole.get_linestyle() == "--"
    assert list(whole.get_xdata()) == pytest.approx([middle, middle])
