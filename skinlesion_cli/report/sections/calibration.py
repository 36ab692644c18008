"""Confidence: calibration, selective prediction, and averaging over flips, from an evaluation document."""

from functools import partial

from skinlesion_cli.report import content, plots
from skinlesion_cli.report.facts import Document
from skinlesion_cli.report.figures import CALIBRATION, LABELS, figure, percent
from skinlesion_cli.report.sections.curves import NO_PROBABILITIES


def calibration(document: Document) -> content.Section:
    """Whether predictions with confidence p are correct in a fraction p of the cases: `calibration`."""
    bins, temperature = document["reliability"], document["temperature"]
    if not bins:
        return content.Section("calibration", "Calibration", missing=NO_PROBABILITIES)
    first = "as given" if temperature is None else "uncalibrated"
    stages = {first: document["before"]} if document["before"] else {}
    text = "The probabilities are scored as they are given."
    if temperature is not None:
        stages[f"calibrated (T = {temperature:.2f})"] = document["after"]
        text = f"Probabilities are calibrated with the temperature {temperature:.3f}, fitted on validation"
        text += "." if document["before"] else ", applied to each flipped view."
    accuracy = content.Chart(
        "Reliability diagram: accuracy by confidence",
        partial(plots.plot_reliability, bins=bins),
        caption="Above the dashed line the model is underconfident, below it overconfident. "
        "Vertical lines are 95% intervals; larger dots stand for more images.",
    )
    images = content.Chart(
        "Number of images by confidence",
        partial(plots.plot_confidences, bins=bins),
        caption="Number of images in each bin of confidence.",
    )
    rows = content.score_rows(CALIBRATION, stages.values())
    return content.section(
        "calibration",
        "Calibration",
        content.Paragraph(text),
        content.Charts((accuracy, images)),
        content.table("Calibration", ("Calibration", *stages), rows),
    )


def selective(document: Document) -> content.Section:
    """What is gained by answering only if the model is confident: `selective`."""
    title, points, target = "Selective prediction", document["risk_coverage"], document["target"]
    if not points:
        return content.Section("selective", title, missing=NO_PROBABILITIES)
    text = (
        "Images are answered in descending order of confidence. At the right end, all are answered, and "
        "the risk is one minus the accuracy."
    )
    plot = partial(plots.plot_risk_coverage, points=points, target=target)
    area = f"Area under the risk–coverage curve: {_with_interval(document, 'aurc')}; lower is better."
    return content.section(
        "selective",
        title,
        content.Paragraph(text, "note"),
        content.Charts((content.Chart("Risk against coverage", plot),)),
        content.Items((area, *_target(target))),
    )


def _target(target: Document | None) -> tuple[str, ...]:
    if not target:
        return ()
    goal = f"Target accuracy {percent(target['accuracy'], 0)}"
    if target["threshold"] is None:
        return (f"{goal}: no confidence threshold reaches it on validation.",)
    return (
        f"{goal}: answer from a confidence of {figure(target['threshold'])} (chosen on validation, where it "
        f"answers {percent(target['validation_coverage'])} of the images).",
        f"On these images: coverage {_with_interval(target, 'coverage')}, accuracy "
        f"{_with_interval(target, 'accuracy_reached')}.",
    )


def _with_interval(document: Document, name: str) -> str:
    number = content.score(document, name)
    return f"{number.written(4)} {number.bounds}".rstrip()


def flips(document: Document) -> content.Section:
    """Each score without and with averaging over flipped views, and the paired difference: `tta`."""
    heads = (f"Mean over {document['views']} flipped views", "without", "with", "difference")
    return content.section("flips", "Test-time augmentation", _changes(document, heads))


def ensemble(document: Document) -> content.Section:
    """The mean score of single models, that of the ensemble, and the paired difference: `ensemble`."""
    heads = (f"Mean over {document['members']} models", "single", "ensemble", "difference")
    return content.section("ensemble", "Ensemble", _changes(document, heads))


def prior(document: Document) -> content.Section:
    """Each score without and with another class prior, and the paired difference: `prior`."""
    heads = ("Another class prior", "without", "with", "difference")
    return content.section("prior", "Class prior", _changes(document, heads))


def _changes(document: Document, heads: tuple[str, ...]) -> content.Table:
    scored = {label: document["differences"][name] for name, label in LABELS.items()}
    rows = (
        (label, *map(content.Number, (one["a"], one["b"])), content.Number(one["difference"], one["ci95"]))
        for label, one in scored.items()
    )
    return content.table(heads[0], heads, rows)
