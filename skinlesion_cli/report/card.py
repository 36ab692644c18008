"""The model card: what a model is, for whom, how good, and what not to do with it, filled from the run.

The sections are those of Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import read_text, write_text
from skinlesion_cli.common.limits import MAX_PLAIN_BYTES
from skinlesion_cli.common.paper import RESIZE_RATIO
from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.common.version import __version__
from skinlesion_cli.report.facts import Document, RunFacts
from skinlesion_cli.report.figures import (
    CALIBRATION,
    LABELS,
    OPERATING_POINTS,
    figure,
    interval,
    interval_of,
    split_title,
)
from skinlesion_cli.report.limits import limits, split_kind
from skinlesion_cli.report.markdown import bullets, plain, section, table
from skinlesion_cli.report.sections.overview import DISCLAIMER
from skinlesion_cli.report.sections.settings import flattened
from skinlesion_cli.training.run_folder import BEST_MODEL

_MARK = re.compile(r"\n<!-- skinlesion report, ([0-9a-f]{64}) -->\n\Z")
_CLASS_FIGURES = {"precision": "Precision", "recall": "Recall", "f1": "F1", "auc": "AUC"}


def write_card(facts: RunFacts, path: Path, *, title: str) -> None:
    """Write the card, whole or not at all, with a mark by which a card that was edited is known."""
    text = model_card(facts, title)
    write_text(path, f"{text}\n<!-- skinlesion report, {_digest(text)} -->\n")


def require_replaceable(path: Path) -> None:
    """See that no card is lost that a person wrote or edited.

    Raises:
        InputError: there is one.
    """
    if not path.exists():
        return
    try:
        text = read_text(path, most=MAX_PLAIN_BYTES)
    except InputError:
        text = ""
    mark = _MARK.search(text)
    if mark is None or _digest(text[: mark.start()]) != mark[1]:
        raise InputError(
            f"{path} was written or edited by hand: name another file with --card, or move it away"
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def model_card(facts: RunFacts, title: str) -> str:
    """The card as Markdown."""
    parts = [
        f"# Model card: {plain(title)}",
        DISCLAIMER,
        _details(facts),
        _use(facts),
        _factors(facts),
        _training_data(facts),
        _evaluation_data(facts),
        _metrics(facts),
        _per_class(facts),
        _malignant(facts),
        _calibration(facts),
        section("Limitations", bullets(plain(text) for text in limits(facts))),
        _ethics(),
        _how_to_use(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _details(facts: RunFacts) -> str:
    def setting(name: str) -> Any:
        return facts.settings.get(name, FIELDS[name].default)

    start = "random weights"
    if facts.settings.get("init_weights"):
        start = f"the weights in {plain(Path(str(facts.settings['init_weights'])).name)}"
    elif setting("pretrained"):
        start = "ImageNet weights"
    size = setting("img_size")
    mean = "ImageNet's" if setting("normalization") == "imagenet" else "the backbone's own"
    kept = f", epoch {facts.best_epoch} of {facts.epochs} kept" if facts.best_epoch and facts.epochs else ""
    items = [
        f"Kind: image classifier of {len(facts.classes)} classes, one answer a photograph",
        f"Backbone: timm's {plain(facts.arch)}, started from {start}",
        f"Input: RGB, shorter side to {round(RESIZE_RATIO * int(size))} pixels, central {size} × {size}; "
        f"{mean} mean and standard deviation",
        f"Method: dual-weighted learning (Regmi and Xu, 2025): classes drawn by count to the power "
        f"{setting('sampler_alpha'):g}, cross-entropy weighted by the Effective Number of Samples with "
        f"β = {setting('loss_beta'):g}",
        f"Training: AdamW, learning rate {setting('learning_rate'):g}, weight decay "
        f"{setting('weight_decay'):g}, batches of {setting('batch_size')}, seed {setting('seed')}{kept}",
        f"Tool: skinlesion {__version__} wrote this card",
    ]
    items += [f"{plain(name).capitalize()}: {plain(value)}" for name, value in _told(facts)]
    return section("Model details", bullets(items))


def _told(facts: RunFacts) -> list[tuple[str, str]]:
    """What the environment tells of versions; paths and command lines are the user's own business."""
    return [
        (name, value)
        for name, value in flattened(facts.environment)
        if not re.search(r"command|argv|path|folder|host|user|cwd|file", name, re.IGNORECASE)
    ]


def _use(facts: RunFacts) -> str:
    names = ", ".join(plain(name) for name in facts.classes)
    return section(
        "Intended use",
        "For research and teaching: comparing methods on class imbalance, on small models and on "
        "explanations; building demonstrations; sorting research images for a person to review. Its users "
        "know the data that it was trained on.",
        "Out of scope: diagnosis, triage, screening, or advice to patients; photographs that show none of "
        "the classes; any decision on a person that no qualified person makes.",
        f"The classes: {names}.",
    )


def _factors(facts: RunFacts) -> str:
    blocks = facts.document.get("blocks") or {}
    rows = [
        [
            plain(name),
            str(one["n"]),
            *(_with_interval(one, figure_name) for figure_name in ("accuracy", "balanced_accuracy")),
        ]
        for name, one in blocks.items()
    ]
    text = (
        "What may change the scores: the device (dermatoscope or telephone), light, framing, hair and ink, "
        "the site on the body, skin tone and age. "
    )
    if not rows:
        return section("Factors", text + "The run's results tell none of them apart.")
    header = ["Source", "Images", "Accuracy", "Balanced accuracy"]
    return section("Factors", text + "The results tell apart the source of the images:", table(header, rows))


def _training_data(facts: RunFacts) -> str:
    counts = sorted(facts.counts.items(), key=lambda one: -one[1])
    if not counts:
        return section("Training data", "The run's results do not tell the training images of each class.")
    ratio = f"{counts[0][1] / counts[-1][1]:.1f}" if counts[-1][1] else "–"
    total = sum(facts.counts.values())
    return section(
        "Training data",
        f"{total} images; {ratio} of the largest class for each of the smallest.",
        table(["Class", "Training images"], [[plain(name), str(count)] for name, count in counts]),
    )


def _evaluation_data(facts: RunFacts) -> str:
    check = facts.check
    splits = ", ".join(f"{split_title(name)} {one['n']}" for name, one in facts.documents.items())
    return section(
        "Evaluation data",
        f"Images: {splits}. The scores below are those of the {split_title(facts.split)} split.",
        split_kind(facts),
        "Leaks between the splits: "
        + (
            f"checked on {check.when}: {plain(check.verdict)}"
            if check
            else "not known; skinlesion data check"
        ),
    )


def _metrics(facts: RunFacts) -> str:
    documents = facts.documents
    header = ["Figure", *(f"{split_title(name)} (n = {one['n']})" for name, one in documents.items())]
    rows = [
        [label, *(_with_interval(one, name) for one in documents.values())]
        for name, label in LABELS.items()
        if any(name in one for one in documents.values())
    ]
    method = facts.document.get("ci95_method")
    return section(
        "Metrics",
        "Weighted F1 chose the epoch, on validation. With classes this unequal, macro F1 and balanced "
        "accuracy tell more of the small ones than accuracy does.",
        table(header, rows),
        f"In brackets the 95 % interval: {plain(method)}." if method else "",
    )


def _per_class(facts: RunFacts) -> str:
    per_class = facts.document["per_class"]
    rows = [
        [plain(name), str(one["support"]), *(_with_interval(one, key) for key in _CLASS_FIGURES)]
        for name, one in per_class.items()
    ]
    title = f"Scores of each class ({split_title(facts.split)} split)"
    return section(title, table(["Class", "Images", *_CLASS_FIGURES.values()], rows))


def _malignant(facts: RunFacts) -> str:
    document = facts.document.get("malignant")
    if not document:
        return ""
    names = ", ".join(plain(name) for name in document["classes"])
    header = ["Called malignant by", "Sensitivity", "Specificity", "PPV", "NPV"]
    rows = [
        [
            OPERATING_POINTS.get(one["name"], plain(one["name"])),
            *(_with_interval(one, rate) for rate in ("sensitivity", "specificity", "ppv", "npv")),
        ]
        for one in document["operating_points"]
    ]
    return section(
        "Malignant against benign",
        f"Malignant: {names}; {document['n_malignant']} images against {document['n_benign']}. "
        f"AUC {_with_interval(document, 'auc')}. PPV and NPV hold for this share of malignant images alone.",
        table(header, rows),
    )


def _calibration(facts: RunFacts) -> str:
    document = facts.document.get("calibration")
    if not document:
        return ""
    states = {"Before": document.get("before"), "After": document.get("after")}
    known = {name: one for name, one in states.items() if one}
    rows = [
        [label, *(_with_interval(one, name) for one in known.values())] for name, label in CALIBRATION.items()
    ]
    temperature = document.get("temperature")
    text = (
        "No temperature was fitted."
        if temperature is None
        else f"Temperature, fitted on validation: {temperature:.4f}."
    )
    return section("Calibration", text, table(["Figure", *known], rows))


def _ethics() -> str:
    return section(
        "Ethical considerations",
        bullets(
            [
                "The images show patients. Their licences, most of them non-commercial, bind whoever "
                "trains on them; small pictures inside a report are copies of them.",
                "The coverage of skin tones is unknown. Public dermoscopy comes largely from light skin, "
                "on which such models are known to do better; the scores here cannot show it.",
                "A wrong “benign” may delay treatment and a wrong “malignant” may cause fear and surgery. "
                "The probabilities weigh neither.",
                "Grad-CAM shows where the evidence lies, not why it is evidence; a plausible map is no "
                "proof of a right reason.",
            ]
        ),
    )


def _how_to_use() -> str:
    return section(
        "How to use",
        "\n".join(
            [
                "```",
                f"skinlesion predict image.jpg --checkpoint {BEST_MODEL}",
                f"skinlesion gradcam image.jpg --checkpoint {BEST_MODEL} --out heat.png",
                f"skinlesion evaluate --data ./data --split test --checkpoint {BEST_MODEL}",
                "```",
            ]
        ),
    )


def _with_interval(document: Document, name: str) -> str:
    ends = interval(interval_of(document, name))
    value = document.get(name)
    return f"{figure(value)} {ends}" if ends and value is not None else figure(value)
