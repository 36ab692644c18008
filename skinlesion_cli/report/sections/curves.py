"""Curves: ROC and precision–recall of each class, and malignant versus benign."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.report import content, plots
from skinlesion_cli.report.facts import Document, RunFacts
from skinlesion_cli.report.figures import OPERATING_POINTS, figure, number

MAX_CLASSES_DRAWN = 40
RATES = {
    "sensitivity": content.Column("Sensitivity"),
    "specificity": content.Column("Specificity"),
    "ppv": content.Column("PPV", intervals=False),
    "npv": content.Column("NPV", intervals=False),
}
RANKING = {"auc": "AUC", "average_precision": "Average precision", "partial_auc": "Partial AUC"}
NO_PROBABILITIES = "the predictions contain no probabilities"


def curves(facts: RunFacts) -> content.Section:
    """Two small figures per class, because 14 lines in one figure would be illegible."""
    title, predictions = "ROC and precision–recall curves", facts.predictions
    if predictions is None:
        return content.Section("curves", title, missing=facts.predictions_missing)
    if predictions.probabilities is None:
        return content.Section("curves", title, missing=NO_PROBABILITIES)
    from sklearn.metrics import precision_recall_curve, roc_curve

    support = np.bincount(predictions.true, minlength=len(predictions.classes))
    order = np.argsort(-support, kind="stable")
    possible = [label for label in order if 0 < support[label] < len(predictions)]
    roc, precision_recall = [], []
    for label in sorted(possible[:MAX_CLASSES_DRAWN]):
        name, positive = predictions.classes[label], predictions.true == label
        scored, scores = facts.document["per_class"][name], predictions.probabilities[:, label]
        rate, sensitivity, _ = roc_curve(positive, scores)
        plot = partial(plots.plot_roc, rate=rate, sensitivity=sensitivity)
        roc.append(content.Chart(f"ROC curve of {name}", plot, name, f"AUC {figure(scored['auc'], 3)}"))
        precision, recall, _ = precision_recall_curve(positive, scores)
        # The precision at recall 0 is that without a hit: 0 if the highest score is wrong, else 1 by
        # definition. Among the thresholds with the same recall, only the first is drawn: the others would be
        # vertical lines.
        recall, first = np.unique(recall[::-1], return_index=True)
        precision, recall = precision[::-1][first][recall > 0], recall[recall > 0]
        plot = partial(
            plots.plot_precision_recall, recall=recall, precision=precision, share=float(positive.mean())
        )
        area = f"AP {figure(scored['average_precision'], 3)}"
        precision_recall.append(content.Chart(f"Precision–recall curve of {name}", plot, name, area))
    text = (
        "Each class versus the rest. Dotted lines show chance: the diagonal for ROC, the share of the class "
        "in the images for precision–recall."
    )
    if len(possible) > MAX_CLASSES_DRAWN:
        text += f" Only the {MAX_CLASSES_DRAWN} largest of {len(possible)} classes are drawn."
    return content.section(
        "curves",
        title,
        content.Paragraph(text),
        content.Charts(tuple(roc), "ROC: sensitivity against false-positive rate", small=True),
        content.Charts(tuple(precision_recall), "Precision against recall", small=True),
    )


def malignant(document: Document | None, predictions: Predictions | None = None) -> content.Section:
    """How well malignant and benign lesions are distinguished (`malignant`); predictions add an ROC curve."""
    title = "Malignant versus benign"
    if not document:
        return content.Section("malignant", title, missing="no class is known to be malignant")
    images = document["n_malignant"] + document["n_benign"]
    names = ", ".join(document["classes"])
    text = f"Malignant: {number(document['n_malignant'])} of {number(images)} ({names})"
    method = (
        "The score is the sum of the probabilities of the malignant classes, so that a melanoma predicted as "
        "a carcinoma is not a miss. Thresholds are chosen on these images, which makes the rates slightly "
        "optimistic. PPV and NPV are valid only for this prevalence of malignant images, which no clinic has."
    )
    rows = (
        (
            OPERATING_POINTS.get(one["name"], one["name"]),
            content.Number(one["threshold"]),
            *(content.score(one, rate) for rate in RATES),
        )
        for one in document["operating_points"]
    )
    return content.section(
        "malignant",
        title,
        content.Paragraph(text),
        _malignant_curve(document, predictions),
        content.Pairs(tuple((label, content.score(document, name)) for name, label in RANKING.items())),
        content.table("Operating points", ("Operating point", "Threshold", *RATES.values()), rows),
        content.Paragraph(method, "note"),
    )


def _malignant_curve(document: Document, predictions: Predictions | None) -> content.Charts | None:
    if predictions is None or predictions.probabilities is None:
        return None
    labels = [predictions.classes.index(name) for name in document["classes"] if name in predictions.classes]
    positive = np.isin(predictions.true, labels)
    if positive.all() or not positive.any():
        return None
    from sklearn.metrics import roc_curve

    rate, sensitivity, _ = roc_curve(positive, predictions.probabilities[:, labels].sum(axis=1))

    def plot(axes: Axes) -> None:
        plots.plot_roc(axes, rate, sensitivity)
        plots.plot_operating_points(axes, document["operating_points"])

    title = "ROC curve of malignant versus benign, with its operating points"
    return content.Charts((content.Chart(title, plot),))
