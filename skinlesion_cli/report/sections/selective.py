"""Selective prediction: what is gained by answering only where the model is sure."""

from collections.abc import Mapping
from typing import Any

from skinlesion_cli.report.axes import fitted_axis, share_axis
from skinlesion_cli.report.charts import Line, Point, chart
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import figure, interval, interval_of, percent
from skinlesion_cli.report.markup import Content, tag
from skinlesion_cli.report.sections.section import Section, left_out, section, written_by_older

TITLE = "Risk and coverage"


def selective(facts: RunFacts) -> Section:
    """The share of wrong answers when only the surest are given."""
    document = facts.document.get("selective")
    if not document:
        return left_out("selective", TITLE, written_by_older("figures of selective prediction"))
    points = document.get("risk_coverage") or []
    if not points:
        return left_out("selective", TITLE, "the predictions hold no probabilities")
    coverage, risk = [one[0] for one in points], [one[1] for one in points]
    target = document.get("target")
    drawn = chart(
        "Risk against coverage",
        share_axis("Coverage: share of the images that are answered"),
        fitted_axis("Risk: share of wrong answers", risk, at_most=5),
        lines_=[Line(coverage, risk)],
        points=_point(target),
    )
    ends = interval(interval_of(document, "aurc"))
    area = f"Area under the curve: {figure(document.get('aurc'))} {ends}; lower is better.".replace(" ;", ";")
    text = (
        "Answers are given from the surest down. The right end answers every image; its risk is one minus "
        "the accuracy."
    )
    return section(
        "selective",
        TITLE,
        tag("p", text),
        tag("div", tag("figure", drawn, tag("figcaption", area)), class_="charts"),
        _target(target),
    )


def _point(target: Mapping[str, Any] | None) -> list[Point]:
    if not target or target.get("coverage") is None or target.get("accuracy_reached") is None:
        return []
    name = f"target {percent(target['accuracy'], 0)} right"
    return [Point(target["coverage"], 1.0 - target["accuracy_reached"], name)]


def _target(target: Mapping[str, Any] | None) -> Content:
    if not target:
        return None
    if target.get("threshold") is None:
        return tag("p", f"No threshold reached {percent(target['accuracy'])} right answers on validation.")
    return tag(
        "p",
        f"For {percent(target['accuracy'])} right answers, validation chose to answer from a confidence of "
        f"{figure(target['threshold'], 3)}. On these images that answers {percent(target['coverage'])} and "
        f"is right in {percent(target['accuracy_reached'])} of them.",
    )
