"""The page of a run: one HTML file for people who would rather look than read."""

from collections.abc import Mapping
from pathlib import Path

from skinlesion_cli.common.version import __version__
from skinlesion_cli.report.document import write_document
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.limits import limits
from skinlesion_cli.report.markup import Markup, lines, tag
from skinlesion_cli.report.mistakes import Pictures
from skinlesion_cli.report.sections import (
    balance,
    calibration,
    classes,
    confusion,
    curves,
    data,
    learning,
    malignant,
    mistakes,
    overview,
    scores,
    selective,
    settings,
    sources,
)
from skinlesion_cli.report.sections.section import Section, section


def default_title(facts: RunFacts) -> str:
    """The page's title where the user gives none."""
    return f"Skin-lesion classifier {facts.arch}"


def write_page(
    facts: RunFacts,
    path: Path,
    *,
    title: str | None = None,
    pictures: Mapping[str, Pictures] | None = None,
    pictures_note: str = "",
) -> None:
    """Write the page, whole or not at all.

    Args:
        facts: of the run.
        path: the file.
        title: of the page.
        pictures: of the most confident mistakes, by image.
        pictures_note: why there are none, for the reader; empty where there are.
    """
    parts = [
        scores.scores(facts),
        classes.classes(facts),
        confusion.confusion(facts),
        curves.curves(facts),
        malignant.malignant(facts),
        calibration.calibration(facts),
        selective.selective(facts),
        sources.sources(facts),
        mistakes.mistakes(facts, pictures or {}, pictures_note),
        learning.learning(facts),
        balance.balance(facts),
        data.data(facts),
        data.limits_section(limits(facts)),
        scores.published(facts),
        settings.settings(facts),
        settings.environment(facts),
    ]
    shown = [one for one in parts if not one.left_out]
    missing = [one for one in parts if one.left_out]
    if missing:
        shown.append(_missing(missing))
    heading = title or default_title(facts)
    whole = tag(
        "div",
        lines(
            [
                overview.header(facts, heading),
                _contents(shown),
                tag("main", lines(one.markup() for one in shown), id="main"),
                tag("footer", f"Made by skinlesion {__version__} report. The file needs no network."),
            ]
        ),
        class_="page with-contents",
    )
    write_document(path, heading, tag("a", "Skip to the scores", class_="skip", href="#main"), whole)


def _contents(shown: list[Section]) -> Markup:
    links = (tag("li", tag("a", one.title, href=f"#{one.key}")) for one in shown)
    inside = tag("div", tag("h2", "On this page", id="contents"), tag("ul", *links))
    return tag("nav", inside, aria_labelledby="contents")


def _missing(parts: list[Section]) -> Section:
    entries = (tag("li", tag("b", one.title), f": {one.left_out}.") for one in parts)
    return section("missing", "Not on this page", tag("ul", *entries))
