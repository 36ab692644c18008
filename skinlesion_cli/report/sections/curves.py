"""ROC and precision–recall curves: a small panel for each class, since 14 lines in one are a tangle."""

from collections.abc import Iterator

import numpy as np

from skinlesion_cli.metrics.roc import precision_recall_curve, roc_curve
from skinlesion_cli.report.axes import share_axis
from skinlesion_cli.report.charts import SMALL, Line, chart
from skinlesion_cli.report.facts import Document, RunFacts
from skinlesion_cli.report.figures import figure
from skinlesion_cli.report.markup import Markup, tag
from skinlesion_cli.report.sections.section import Section, left_out, predictions_missing, section

CHANCE = ((0.0, 0.0), (1.0, 1.0))


def curves(facts: RunFacts) -> Section:
    """Both curves of every class that has images and of which others have."""
    title, predictions = "ROC and precision–recall curves", facts.predictions
    if predictions is None:
        return left_out("curves", title, predictions_missing(facts.split))
    if predictions.probabilities is None or predictions.true is None:
        return left_out("curves", title, "the predictions hold no probabilities")
    roc, recall = [], []
    for label, name in enumerate(predictions.classes):
        positive, scores = predictions.true == label, predictions.probabilities[:, label]
        if 0 < positive.sum() < len(positive):
            scored = facts.document["per_class"].get(name, {})
            roc.append(_roc(name, scored, *roc_curve(positive, scores)))
            recall.append(
                _recall(name, scored, float(positive.mean()), *precision_recall_curve(positive, scores))
            )
    text = (
        "Each class against the rest. Dashed is chance: the diagonal of an ROC curve, and the share of the "
        "class among the images, below which no precision–recall curve stays for long."
    )
    return section(
        "curves",
        title,
        tag("p", text),
        tag("h3", "ROC: sensitivity against false-positive rate"),
        tag("div", *roc, class_="panels"),
        tag("h3", "Precision against recall"),
        tag("div", *recall, class_="panels"),
    )


def _roc(name: str, scored: Document, rate: np.ndarray, sensitivity: np.ndarray) -> Markup:
    drawn = chart(
        f"ROC curve of {name}",
        share_axis("False-positive rate", few=True),
        share_axis("Sensitivity", few=True),
        lines_=[Line(rate.tolist(), sensitivity.tolist())],
        chance=CHANCE,
        size=SMALL,
    )
    return _panel(name, drawn, "AUC", scored.get("auc"))


def _recall(name: str, scored: Document, share: float, recall: np.ndarray, precision: np.ndarray) -> Markup:
    drawn = chart(
        f"Precision–recall curve of {name}",
        share_axis("Recall", few=True),
        share_axis("Precision", few=True),
        # A step down shows no precision between two thresholds that neither of them has.
        lines_=[Line(*_steps(recall.tolist(), precision.tolist()), colour="orange")],
        chance=((0.0, share), (1.0, share)),
        size=SMALL,
    )
    return _panel(name, drawn, "AP", scored.get("average_precision"))


def _steps(recall: list[float], precision: list[float]) -> tuple[list[float], list[float]]:
    """The curve as steps: each precision holds from the recall before it."""
    before = [0.0, *recall[:-1]]
    # Beyond a recall of 1 the threshold only lets in more wrong images.
    end = next((at for at, value in enumerate(recall, start=1) if value >= 1.0), len(recall))
    points = list(_corners(before[:end], recall[:end], precision[:end]))
    return [x for x, _ in points], [y for _, y in points]


def _corners(
    before: list[float], recall: list[float], precision: list[float]
) -> Iterator[tuple[float, float]]:
    for start, end, height in zip(before, recall, precision, strict=True):
        yield start, height
        yield end, height


def _panel(name: str, drawn: Markup, what: str, value: float | None) -> Markup:
    caption = tag(
        "figcaption", tag("b", name), tag("br"), f"{what} {figure(value, 3)}" if value is not None else None
    )
    return tag("figure", drawn, caption)
