"""The model card: what a model is, its intended use, its performance and its limits, filled in from the run.

The sections are those of Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019.
"""

import hashlib
import re
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any

from markupsafe import Markup

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import read_text, write_text
from skinlesion_cli.common.limits import MAX_PLAIN_BYTES
from skinlesion_cli.common.paper import RESIZE_RATIO
from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.models.model_info import BEST_MODEL
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import LABELS
from skinlesion_cli.report.page import DISCLAIMER
from skinlesion_cli.report.sections import calibration, curves, data, guidelines, scores, training
from skinlesion_cli.report.sections.limits import limits
from skinlesion_cli.report.sections.subgroups import subgroups
from skinlesion_cli.report.templates import render_markdown

_MARK = re.compile(r"\n<!-- skinlesion report, ([0-9a-f]{64}) -->\n\Z")
_FRAMED = {
    "crop": "shorter side resized to {resized} pixels, {side} × {side} centre crop",
    "pad": "longer side resized to {side} pixels, with a border that makes it square",
    "squash": "both sides resized to {side} pixels, whatever the proportions",
}
_PUBLIC = ("started", "git_commit", "versions", "platform", "device", "seed", "data")
"""Entries of the environment that contain no path; the command lines, for example, do."""


def write_card(facts: RunFacts, path: Path, *, title: str) -> None:
    """Write the card, completely or not at all, with a mark that shows later whether the card was edited."""
    write_text(path, marked(model_card(facts, title)))


def marked(text: str) -> str:
    """A card with the mark by which `require_replaceable` knows that it was not edited."""
    return f"{text}\n<!-- skinlesion report, {_digest(text)} -->\n"


def require_replaceable(path: Path) -> None:
    """Raise InputError if a card that a person wrote or edited would be lost."""
    if not path.exists():
        return
    # What cannot be read has no mark either.
    with suppress(InputError):
        text = read_text(path, most=MAX_PLAIN_BYTES)
        mark = _MARK.search(text)
        if mark is not None and _digest(text[: mark.start()]) == mark[1]:
            return
    raise InputError(
        f"{path} was written or edited by hand: choose another file with --card, or move it away"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _source(weights: str) -> str:
    """The name of a weights file without its folder; for one in the hub's cache, the name of the model."""
    # A path may have either slash: the run may come from another system.
    parts = PureWindowsPath(weights).parts
    if len(parts) > 3 and parts[-3] == "snapshots" and parts[-4].startswith("models--"):
        return f"{parts[-4].removeprefix('models--').replace('--', '/')} of the hub, revision {parts[-2]}"
    return parts[-1]


def model_card(facts: RunFacts, title: str, model: str = str(BEST_MODEL)) -> str:
    """The card as Markdown; `model` is the model's name in the commands at its end."""

    def setting(name: str) -> Any:
        return facts.settings.get(name, FIELDS[name].default)

    start = "ImageNet weights" if setting("pretrained") else "random weights"
    if facts.settings.get("init_weights"):
        start = f"the weights in {_source(str(facts.settings['init_weights']))}"
    document = facts.document
    environment = {name: facts.environment[name] for name in _PUBLIC if name in facts.environment}
    if resumed := facts.environment.get("resumed"):
        environment["resumed"] = f"{len(resumed)} times" if len(resumed) > 1 else "once"
    card = render_markdown(
        "card.md",
        title=title,
        disclaimer=DISCLAIMER,
        facts=facts,
        setting=setting,
        selected=LABELS.get(str(setting("select")).replace("-", "_"), str(setting("select"))),
        start=start,
        framed=_FRAMED.get(setting("fit"), _FRAMED["crop"]).format(
            side=setting("img_size"), resized=round(RESIZE_RATIO * int(setting("img_size")))
        ),
        environment=tuple(training.flattened(environment)),
        sources=data.sources(document["blocks"]).only("Images", "Accuracy", "Balanced accuracy"),
        balance=data.balance(facts).only("Training images"),
        leaks=data.leaks(facts),
        people=subgroups(facts.evaluated, facts.evaluated_missing),
        tones="tone" in ((facts.evaluated or {}).get("subgroups") or {}),
        scores=scores.scores(facts, facts.documents),
        classes=scores.class_scores(document["per_class"]).only("Images", "Precision", "Recall", "F1", "AUC"),
        malignant=curves.malignant(document["malignant"]).only("Sensitivity", "Specificity", "PPV", "NPV"),
        calibration=calibration.calibration(document["calibration"]),
        limits=limits(facts),
        guidelines=(guidelines.tripod_ai(facts), guidelines.clear_derm(facts)),
        checkpoint=Markup(model),
    )
    return re.sub(r"\n{3,}", "\n\n", card).lstrip()
