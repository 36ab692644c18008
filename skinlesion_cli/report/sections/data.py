"""The data: how they were split, and whether test images have siblings in training."""

from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.limits import leaks, split_kind
from skinlesion_cli.report.markup import lines, tag
from skinlesion_cli.report.sections.section import Section, left_out, section


def data(facts: RunFacts) -> Section:
    """The verdict of the last `skinlesion data check`, with the way to make it where there is none."""
    title = "Leaks between the splits"
    if not facts.data_check:
        return left_out("data", title, "the data set's folder is not here; name it with --data")
    kind = "verdict leak" if leaks(facts) else "verdict"
    return section(
        "data", title, lines([tag("p", facts.data_check, class_=kind), tag("p", split_kind(facts))])
    )


def limits_section(limits: list[str]) -> Section:
    """What to hold against the scores."""
    return section("limits", "Limits", tag("ul", *(tag("li", text) for text in limits)))
