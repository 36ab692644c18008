"""The most confident mistakes, with what the model looked at."""

from collections.abc import Mapping

from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import percent
from skinlesion_cli.report.markup import Content, Markup, join, tag
from skinlesion_cli.report.mistakes import Mistake, Pictures, most_confident
from skinlesion_cli.report.sections.section import Section, left_out, predictions_missing, section

TITLE = "Most confident mistakes"


def mistakes(facts: RunFacts, pictures: Mapping[str, Pictures], note: str) -> Section:
    """A figure a mistake.

    Args:
        facts: of the run.
        pictures: of each image that has some.
        note: why there are none; empty where there are.
    """
    predictions = facts.predictions
    if predictions is None:
        return left_out("mistakes", TITLE, predictions_missing(facts.split))
    found = most_confident(predictions)
    if not found:
        return section("mistakes", TITLE, tag("p", "There are none: every answer is right."))
    shown = (
        " Left: the photograph; the frame holds what the model saw. Right: the evidence for its answer "
        "(Grad-CAM)."
    )
    text = f"Of the wrong answers, the {len(found)} of which the model was surest." if len(found) > 1 else ""
    return section(
        "mistakes",
        TITLE,
        tag("p", text, shown if pictures else ""),
        tag("p", note, class_="note") if note else None,
        tag("div", *(_figure(one, pictures.get(one.image)) for one in found), class_="photos"),
    )


def _figure(mistake: Mistake, pictures: Pictures | None) -> Markup:
    said = join(
        tag("b", mistake.predicted),
        f" with {percent(mistake.confidence)}; it is ",
        tag("b", mistake.true),
        f" ({percent(mistake.of_true)}).",
    )
    return tag(
        "figure", _pair(mistake, pictures), tag("figcaption", said, tag("br"), tag("small", mistake.image))
    )


def _pair(mistake: Mistake, pictures: Pictures | None) -> Content:
    if pictures is None:
        return None
    photo = tag("img", src=pictures.photo, alt=f"{mistake.true}, taken for {mistake.predicted}")
    heat = tag("img", src=pictures.heat, alt=f"where the evidence for {mistake.predicted} lies")
    return tag("div", photo, heat, class_="pair")
