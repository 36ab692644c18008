"""The data: sources, class balance, leaks, and the images that the model gets wrong."""

from collections.abc import Mapping

from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.data.class_balance import balance_table, imbalance_ratio
from skinlesion_cli.report.content import Number, Paragraph, Photos, Section, score, section, table
from skinlesion_cli.report.facts import Document, RunFacts
from skinlesion_cli.report.figures import LABELS, number, percent
from skinlesion_cli.report.mistakes import Pictures, most_confident
from skinlesion_cli.report.sections.limits import grouping


def sources(blocks: Mapping[str, Document] | None) -> Section:
    """The scores within each source of the images: `blocks` of an evaluation document."""
    title = "Sources of the images"
    if not blocks:
        return Section("sources", title, missing="no manifest.csv gives the source of each image")
    if len(blocks) == 1:
        return Section("sources", title, missing=f"the images have one source, {next(iter(blocks))}")
    rows = (
        (source, int(one["n"]), len(one["classes"]), *(score(one, name) for name in LABELS))
        for source, one in blocks.items()
    )
    text = (
        "A class that comes from one source can be recognised by that source: its camera, light and framing. "
        "Scores over all images are then too high; scores within a source are not. Averages over classes "
        "include only the classes that the source has."
    )
    heads = ("Source", "Images", "Classes", *LABELS.values())
    scores = table("Scores within each source", heads, rows, sortable=True)
    return section("sources", title, Paragraph(text, "note"), scores)


def balance(facts: RunFacts) -> Section:
    """Images of each class, the largest first, with its loss weight and sampling probability."""
    title = "Class balance and weights"
    if not facts.counts or min(facts.counts.values()) < 1:
        return Section("balance", title, missing="the results do not give the training images of each class")
    beta = float(facts.settings.get("loss_beta", FIELDS["loss_beta"].default))
    alpha = float(facts.settings.get("sampler_alpha", FIELDS["sampler_alpha"].default))
    found = sorted(balance_table(facts.counts, beta, alpha), key=lambda one: -one.count)
    most, heaviest = found[0].count, max(one.weight for one in found)
    likeliest = max(one.sampling_probability for one in found)
    rows = (
        (
            one.name,
            Number(one.count, None, number(one.count), one.count / most, "grey"),
            Number(one.share, None, percent(one.share)),
            Number(one.effective_number, None, f"{one.effective_number:.1f}"),
            Number(one.weight, None, f"{one.weight:.2f}", one.weight / heaviest, "orange"),
            Number(probability, None, percent(probability), probability / likeliest),
        )
        for one in found
        for probability in [one.sampling_probability]
    )
    text = (
        f"{number(sum(facts.counts.values()))} training images; imbalance ratio "
        f"{imbalance_ratio(list(facts.counts.values())):.1f} : 1."
    )
    method = (
        f"The loss weights each class by its Effective Number of Samples (β = {beta:g}). Class i is sampled "
        f"with a probability proportional to its count to the power {alpha:g}."
    )
    heads = ("Class", "Training images", "Share", "Effective number", "Loss weight", "Sampling probability")
    images = table("Images and weights of each class", heads, rows, sortable=True)
    return section("balance", title, Paragraph(text), Paragraph(method), images)


def leaks(facts: RunFacts) -> Section:
    """The verdict of the last `skinlesion data check`, and whether the images are grouped by lesion."""
    title, check = "Leaks between the splits", facts.check
    if facts.data_root is None:
        return Section("data", title, missing="the data set's folder was not found; give it with --data")
    if check is None:
        text = "The data set has not been checked for leaks: run skinlesion data check."
    elif check.outdated:
        text = f"The data set was changed after the check on {check.when}: run skinlesion data check."
    else:
        text = f"Checked on {check.when}: {check.verdict}"
    kind = "leak" if facts.leaking else "verdict"
    return section("data", title, Paragraph(text, kind), Paragraph(grouping(facts)))


def mistakes(facts: RunFacts, pictures: Mapping[str, Pictures], note: str) -> Section:
    """The most confident wrong predictions, with the images that could be drawn, or why there are none."""
    title = "Most confident errors"
    if facts.predictions is None:
        return Section("mistakes", title, missing=facts.predictions_missing)
    found = most_confident(facts.predictions)
    if not found:
        return section("mistakes", title, Paragraph("None: every prediction is correct."))
    text = f"The {len(found)} wrong predictions with the highest confidence." if len(found) > 1 else ""
    if pictures:
        text += (
            " Left: the photograph, with a frame around what the model saw. Right: the evidence for its "
            "prediction (Grad-CAM); lighter and wider outlines mean more evidence."
        )
    remark = Paragraph(note, "note") if note else None
    return section("mistakes", title, Paragraph(text), remark, Photos(found, pictures))
