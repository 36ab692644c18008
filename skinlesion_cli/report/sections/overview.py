"""The head of the page: what was trained, and the four figures that count."""

from skinlesion_cli.report.charts import strip
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import LABELS, figure, interval, interval_of, number, split_title
from skinlesion_cli.report.markup import Markup, join, lines, tag

HEADLINE = ("weighted_f1", "macro_f1", "balanced_accuracy", "weighted_auc")
DISCLAIMER = "A research tool, not a medical device: do not diagnose with it."


def header(facts: RunFacts, title: str) -> Markup:
    """The page's title, what was trained, and the figures that count."""
    training = f" trained on {number(sum(facts.counts.values()))} images" if facts.counts else ""
    kept = (
        f"; epoch {facts.best_epoch} of {facts.epochs} is kept" if facts.best_epoch and facts.epochs else ""
    )
    what = join(tag("code", facts.arch), f", {len(facts.classes)} classes,{training}{kept}.")
    return tag("header", tag("h1", title), tag("p", what), tag("p", DISCLAIMER), _cards(facts))


def _cards(facts: RunFacts) -> Markup:
    """The figures that count, each with its interval as a number and as a line from 0 to 1."""
    document, split = facts.document, split_title(facts.split).capitalize()
    unit = "patients or lesions" if facts.grouped else "images"
    text = (
        f"{split} split, {number(document['n'])} images. Brackets are 95 % intervals from {unit} drawn anew; "
        "the line below each figure runs from 0 to 1."
    )
    chosen = (
        "" if facts.split != "val" else " There is no test split: these are the images that chose the epoch."
    )
    return lines(
        [
            tag("dl", *(_card(facts, name) for name in HEADLINE if name in document), class_="cards"),
            tag("p", text, chosen, class_="note"),
        ]
    )


def _card(facts: RunFacts, name: str) -> Markup:
    document = facts.document
    value, ends = document[name], interval_of(document, name)
    drawn = (
        strip(value, ends, f"{LABELS[name]} {figure(value, 3)} {interval(ends)}")
        if value is not None
        else None
    )
    return tag(
        "div",
        tag("dt", LABELS[name]),
        tag("dd", figure(value, 3), tag("small", interval(ends, 3) or "no interval"), drawn),
        class_="card",
    )
