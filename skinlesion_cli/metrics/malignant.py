"""Malignant versus benign, the clinical question behind the classes.

The score of an image is the sum of the probabilities of the malignant classes, so melanoma predicted as basal
cell carcinoma is not a miss.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.text import nearest
from skinlesion_cli.metrics.arrays import Booleans, Floats, Multiplicities, divide, number
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.exact import counts_of, intervals
from skinlesion_cli.metrics.packed import Labelled, Packed
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.roc import RANKING, Ranking, sweep

MALIGNANT = {"melanoma", "melanomainsitu", "basalcellcarcinoma", "squamouscellcarcinoma", "mel", "bcc", "scc"}
"""The default malignant classes, as `_key` spells them; the codes are those of HAM10000 and ISIC."""
SUSPECT = re.compile("carcinoma|melanoma|sarcoma|lymphoma|malignant", re.IGNORECASE)
RATES = ("sensitivity", "specificity", "ppv", "npv")
SPECIFICITY, SENSITIVITY = 0.95, 0.90
CHOSEN = "validation"
"""The operating point whose threshold is chosen on validation images."""


@dataclass(frozen=True)
class OperatingPoint:
    """Which images are classified as malignant."""

    name: str
    threshold: float
    """The lowest score that is classified as malignant; NaN for a decision, or if there is none."""
    called: Booleans
    """(n,)"""


def malignant_classes(classes: Sequence[str], named: Sequence[str] | None = None) -> tuple[str, ...]:
    """The malignant ones of a model's classes, in the model's order.

    Those that are `named`, also several in one text, between commas; None takes those of `MALIGNANT`. Upper
    or lower case, spaces, underscores and hyphens make no difference. InputError if the model lacks a named
    class, or no class is left benign.
    """
    if named is None:
        return tuple(name for name in classes if _key(name) in MALIGNANT)
    found: list[str] = []
    parts = ",".join([named] if isinstance(named, str) else named).split(",")
    while parts:
        # Of the longest texts first, because a name may have commas: "Melanoma, NOS".
        texts = [",".join(parts[:count]).strip() for count in range(len(parts), 0, -1)]
        name = next((text for text in texts if _named(text, classes)), texts[-1])
        found += _named(name, classes)
        parts = parts[name.count(",") + 1 :]
        if name and not _named(name, classes):
            hint = nearest(name, classes) or f"; the classes are {', '.join(classes)}"
            raise InputError(f"--malignant: the model has no class {name!r}{hint}")
    if not found or set(found) == set(classes):
        raise InputError("--malignant must name some of the classes, and leave at least one benign")
    return tuple(name for name in classes if name in found)


def _named(text: str, classes: Sequence[str]) -> list[str]:
    """The class of this very name, or those whose name differs only in case, spaces or hyphens."""
    same = [name for name in classes if _key(name) == _key(text)]
    return [text] if text in same else same


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def malignant_section(
    predictions: Predictions,
    malignant: Sequence[str],
    bootstrap: Bootstrap,
    validation: Predictions | None = None,
) -> dict[str, Any] | None:
    """The evaluation document's section on malignant versus benign; None without malignant classes.

    `validation` adds the operating point of `chosen_point`.
    """
    if not malignant:
        return None
    positive, scores = is_malignant(predictions, malignant), _scores(predictions, malignant)
    points = _operating_points(predictions, malignant)
    if (chosen := chosen_point(predictions, malignant, validation)).name == CHOSEN:
        points.append(chosen)
    called = np.stack([one.called for one in points])

    ranking, rates = None if scores is None else Ranking(positive, scores), Rates(positive, called)

    def figures(weights: Multiplicities) -> dict[str, Floats]:
        packed = Packed(weights)
        undefined = dict.fromkeys(RANKING, np.full(len(weights), np.nan))
        return (undefined if ranking is None else ranking.figures(packed)) | rates(packed)

    found = figures(np.ones((1, len(positive)), dtype=np.uint8))
    drawn = bootstrap.figures(figures)
    fewest = min(counts_of(bootstrap, {"malignant": positive, "benign": ~positive}).values())
    return {
        "classes": list(malignant),
        "n_malignant": int(positive.sum()),
        "n_benign": int((~positive).sum()),
        **{name: number(found[name][0]) for name in RANKING},
        "operating_points": [
            {
                "name": point.name,
                "threshold": number(point.threshold),
                **{rate: number(found[rate][0, row]) for rate in RATES},
                **intervals(
                    {rate: found[rate][0, row] for rate in RATES},
                    {rate: drawn[rate][:, row] for rate in RATES},
                    counts_of(bootstrap, counted_by(positive, point.called)),
                ),
            }
            for row, point in enumerate(points)
        ],
        **intervals({name: found[name][0] for name in RANKING}, drawn, dict.fromkeys(RANKING, fewest)),
    }


def malignant_warnings(section: dict[str, Any] | None, classes: Sequence[str] = ()) -> list[str]:
    """Why metrics of the section are undefined, and which of the classes may have been forgotten."""
    counted = [] if section is None else section["classes"]
    told = []
    if forgotten := [name for name in classes if SUSPECT.search(name) and name not in counted]:
        told = [f"counted as benign: {', '.join(forgotten)} (--malignant A,B names the malignant classes)"]
    if section is not None and not (section["n_malignant"] and section["n_benign"]):
        missing = "benign" if section["n_malignant"] else "malignant"
        told.append(f"no {missing} images: malignant versus benign has no ROC curve")
    return told


def is_malignant(predictions: Predictions, malignant: Sequence[str]) -> Booleans:
    """Which images are truly of a malignant class, (n,)."""
    return np.isin(predictions.true, [predictions.classes.index(name) for name in malignant])


def chosen_point(
    predictions: Predictions, malignant: Sequence[str], validation: Predictions | None
) -> OperatingPoint:
    """The operating point for images that had no part in choosing it.

    The threshold with the highest specificity at a sensitivity of at least 90% on `validation`, the same
    model's predictions. Without these, without probabilities, or without both kinds of images, it is the
    decision. InputError if `validation` lacks a malignant class.
    """
    scores = _scores(predictions, malignant)
    if validation is not None and scores is not None:
        if missing := [name for name in malignant if name not in validation.classes]:
            others = f"their classes are {first_few(validation.classes, 20)}"
            raise InputError(f"the predictions on validation have no class {first_few(missing)}; {others}")
        positive, chosen_on = is_malignant(validation, malignant), _scores(validation, malignant)
        if chosen_on is not None and positive.any() and not positive.all():
            counts = sweep(positive, chosen_on)
            threshold = float(counts.thresholds[np.flatnonzero(counts.sensitive(SENSITIVITY)[0])[0]])
            return OperatingPoint(CHOSEN, threshold, scores >= threshold)
    return _decision(predictions, malignant)


def _decision(predictions: Predictions, malignant: Sequence[str]) -> OperatingPoint:
    columns = [predictions.classes.index(name) for name in malignant]
    return OperatingPoint("decision", float("nan"), np.isin(predictions.predicted, columns))


def _scores(predictions: Predictions, malignant: Sequence[str]) -> Floats | None:
    """The probability of a malignant class, (n,); None without probabilities."""
    if predictions.probabilities is None:
        return None
    columns = [predictions.classes.index(name) for name in malignant]
    return np.asarray(predictions.probabilities[:, columns].sum(axis=1))


def _operating_points(predictions: Predictions, malignant: Sequence[str]) -> list[OperatingPoint]:
    """The model's own decision, and thresholds that are chosen on these same images.

    `specificity_95` is the most sensitive threshold with at least 95% specificity, `sensitivity_90` the most
    specific one with at least 90% sensitivity, `youden` the one with the largest sensitivity + specificity
    (Youden, *Index for rating diagnostic tests*, 1950).
    """
    positive, scores = is_malignant(predictions, malignant), _scores(predictions, malignant)
    points = [_decision(predictions, malignant)]
    if scores is None or positive.all() or not positive.any():
        return points
    counts = sweep(positive, scores)
    youden = counts.hits[0] / counts.positives[0] - counts.up_to[0] / counts.negatives[0]
    chosen = {
        "specificity_95": np.flatnonzero(counts.specific(SPECIFICITY)[0])[-1:],
        "sensitivity_90": np.flatnonzero(counts.sensitive(SENSITIVITY)[0])[:1],
        "youden": np.argmax(youden, keepdims=True),
    }
    for name, place in chosen.items():
        threshold = float(counts.thresholds[place[0]]) if len(place) else float("nan")
        # If benign images score highest, no threshold is specific enough, and nothing is called malignant.
        points.append(OperatingPoint(name, threshold, scores >= threshold))
    return points


def counted_by(positive: Booleans, called: Booleans) -> dict[str, Booleans]:
    """Which images each of the rates counts, (n,)."""
    return dict(zip(RATES, (positive, ~positive, called, ~called), strict=True))


class Rates:
    """The rates of some operating points in resamples; `called` is (points, n)."""

    def __init__(self, positive: Booleans, called: Booleans):
        # Images for which all of this is the same are counted together.
        places = np.arange(1 + len(called))
        kinds = (np.arange(2 ** len(places)) >> places[:, None] & 1).astype(bool)
        self._images = Labelled((1 << places) @ np.vstack([positive, called]), kinds.shape[1])
        self._positive, self._called = kinds[0], kinds[1:]

    def __call__(self, packed: Packed) -> dict[str, Floats]:
        """The metrics named in `RATES`, each (resamples, points)."""
        counts, positive, called = packed.tally(self._images), self._positive, self._called
        hits, misses = counts @ (called & positive).T, counts @ (~called & positive).T
        false_alarms, cleared = counts @ (called & ~positive).T, counts @ (~called & ~positive).T
        return {
            "sensitivity": divide(hits, hits + misses),
            "specificity": divide(cleared, cleared + false_alarms),
            "ppv": divide(hits, hits + false_alarms),
            "npv": divide(cleared, cleared + misses),
        }
