"""Calibration: whether an answer that is given with confidence p is right in a share p of all cases."""

from collections.abc import Mapping, Sequence
from typing import Any

from skinlesion_cli.report.axes import fitted_axis, share_axis
from skinlesion_cli.report.charts import Bar, Line, chart
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import CALIBRATION, figure, number
from skinlesion_cli.report.markup import Markup, tag
from skinlesion_cli.report.sections.section import Section, left_out, section, written_by_older
from skinlesion_cli.report.tables import Cell, Column, score_cell, table

TITLE = "Calibration"


def calibration(facts: RunFacts) -> Section:
    """The reliability diagram, how many answers stand behind each bar, and the figures."""
    document = facts.document.get("calibration")
    if not document:
        return left_out("calibration", TITLE, written_by_older("calibration figures"))
    bins = [one for one in document.get("reliability") or () if one["count"]]
    if not bins:
        return left_out("calibration", TITLE, "the predictions hold no probabilities")
    return section(
        "calibration",
        TITLE,
        tag("p", _text(document)),
        tag("div", _reliability(bins), _counts(bins), class_="charts"),
        _figures(document),
    )


def _text(document: Mapping[str, Any]) -> str:
    temperature = document.get("temperature")
    if temperature is None:
        how = "The probabilities are the model's own; no temperature was fitted."
    else:
        how = f"The probabilities are taken at the temperature {temperature:.3f}, fitted on validation."
    return (
        f"Bars that end on the dashed line are perfectly calibrated; below it, the model is too sure. {how}"
    )


def _reliability(bins: Sequence[Mapping[str, Any]]) -> Markup:
    bars = [
        Bar(
            one["low"],
            one["high"],
            one["accuracy"],
            f"{_range(one)}: {one['accuracy']:.1%} right of {one['count']}",
        )
        for one in bins
    ]
    means = Line(
        [one["confidence"] for one in bins],
        [one["accuracy"] for one in bins],
        colour="orange",
        dots=True,
        joined=False,
    )
    drawn = chart(
        "Reliability diagram: share of right answers by confidence",
        share_axis("Confidence"),
        share_axis("Share of right answers"),
        lines_=[means],
        bars=bars,
        chance=((0.0, 0.0), (1.0, 1.0)),
    )
    caption = "Right answers among those of a confidence; a dot lies at the mean confidence of its bar."
    return tag("figure", drawn, tag("figcaption", caption))


def _counts(bins: Sequence[Mapping[str, Any]]) -> Markup:
    bars = [
        Bar(one["low"], one["high"], one["count"], f"{_range(one)}: {one['count']} answers") for one in bins
    ]
    drawn = chart(
        "Number of answers by confidence",
        share_axis("Confidence"),
        fitted_axis("Answers", [one["count"] for one in bins], at_most=5),
        bars=bars,
    )
    total = sum(one["count"] for one in bins)
    return tag(
        "figure", drawn, tag("figcaption", f"How many of the {number(total)} answers stand behind each bar.")
    )


def _range(one: Mapping[str, Any]) -> str:
    return f"confidence {figure(one['low'], 2)} to {figure(one['high'], 2)}"


def _figures(document: Mapping[str, Any]) -> Markup:
    states = {"Before": document.get("before"), "After temperature scaling": document.get("after")}
    known = {name: one for name, one in states.items() if one}
    columns = [Column("Figure", number=False), *(Column(name) for name in known)]
    rows = [
        [Cell(label), *(score_cell(one, name) for one in known.values())]
        for name, label in CALIBRATION.items()
    ]
    return table("Figures of calibration", columns, rows)
