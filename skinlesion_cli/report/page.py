"""The page of a run: one HTML file."""

from collections.abc import Mapping
from pathlib import Path

from skinlesion_cli.common.files import write_text
from skinlesion_cli.report.content import Items, Section, score, section
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import LABELS
from skinlesion_cli.report.mistakes import Pictures
from skinlesion_cli.report.sections import calibration, curves, data, guidelines, scores, training
from skinlesion_cli.report.sections.limits import limits
from skinlesion_cli.report.sections.subgroups import subgroups
from skinlesion_cli.report.templates import render_html

DISCLAIMER = "A research tool, not a medical device: do not use it for diagnosis."
HEADLINE = ("weighted_f1", "macro_f1", "balanced_accuracy", "weighted_auc")


def default_title(facts: RunFacts) -> str:
    """The page's title if the user gives none."""
    return f"Skin-lesion classifier {facts.arch}"


def write_page(
    facts: RunFacts,
    path: Path,
    *,
    title: str | None = None,
    pictures: Mapping[str, Pictures] | None = None,
    pictures_note: str = "",
) -> None:
    """Write the page, completely or not at all; `pictures_note` says why there are no photographs."""
    found = sections(facts, pictures or {}, pictures_note)
    page = render_html(
        "page.html",
        title or default_title(facts),
        facts=facts,
        disclaimer=DISCLAIMER,
        headline=[(LABELS[name], score(facts.document, name)) for name in HEADLINE],
        sections=[one for one in found if not one.missing],
        missing=[one for one in found if one.missing],
    )
    write_text(path, page)


def sections(facts: RunFacts, pictures: Mapping[str, Pictures], pictures_note: str = "") -> list[Section]:
    """Every section in the order of the page, including those that cannot be shown."""
    document = facts.document
    # The main split comes first: on a phone, the others need scrolling.
    splits = {facts.split: document} | facts.documents
    return [
        scores.scores(facts, splits),
        scores.classes(facts),
        scores.confusion(splits),
        curves.curves(facts),
        curves.malignant(document["malignant"], facts.predictions),
        calibration.calibration(document["calibration"]),
        calibration.selective(document["selective"]),
        data.sources(document["blocks"]),
        subgroups(facts.evaluated, facts.evaluated_missing),
        data.mistakes(facts, pictures, pictures_note),
        training.learning(facts),
        data.balance(facts),
        data.leaks(facts),
        section("limits", "Limits", Items(tuple(limits(facts)))),
        scores.published(facts),
        guidelines.tripod_ai(facts),
        guidelines.clear_derm(facts),
        training.settings(facts),
        training.environment(facts),
    ]
