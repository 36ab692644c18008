"""Malignant against benign, the clinical question behind the classes.

The score of an image is the sum of the probabilities of the malignant classes, so melanoma predicted as basal
cell carcinoma is not a miss.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import nearest
from skinlesion_cli.metrics.arrays import Booleans, Floats, Multiplicities, divide, number
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.exact import counts_of, intervals
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.roc import RANKING, ranking_figures, sweep

MALIGNANT = {"melanoma", "melanomainsitu", "basalcellcarcinoma", "squamouscellcarcinoma", "mel", "bcc", "scc"}
"""The default malignant classes, as `_key` spells them; the codes are those of HAM10000 and ISIC."""
SUSPECT = re.compile("carcinoma|melanoma|sarcoma|lymphoma|malignant", re.IGNORECASE)
RATES = ("sensitivity", "specificity", "ppv", "npv")
SPECIFICITY, SENSITIVITY = 0.95, 0.90

_OperatingPoint = tuple[str, float, Booleans]
"""Name; the lowest score that is called malignant (NaN if there is none); which images are, (n,)."""


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
    predictions: Predictions, malignant: Sequence[str], bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """The evaluation document's section on malignant against benign; None without malignant classes."""
    if not malignant:
        return None
    columns = [predictions.classes.index(name) for name in malignant]
    positive = np.isin(predictions.true, columns)
    scores = None if predictions.probabilities is None else predictions.probabilities[:, columns].sum(axis=1)
    points = _operating_points(positive, scores, np.isin(predictions.predicted, columns))
    called = np.stack([one for _, _, one in points])

    def figures(weights: Multiplicities) -> dict[str, Floats]:
        undefined = dict.fromkeys(RANKING, np.full(len(weights), np.nan))
        ranking = undefined if scores is None else ranking_figures(positive, scores, weights)
        return ranking | _rates(positive, called, weights)

    found = figures(np.ones((1, len(positive)), dtype=np.float32))
    drawn = bootstrap.figures(figures)
    fewest = min(counts_of(bootstrap, {"malignant": positive, "benign": ~positive}).values())
    return {
        "classes": list(malignant),
        "n_malignant": int(positive.sum()),
        "n_benign": int((~positive).sum()),
        **{name: number(found[name][0]) for name in RANKING},
        "operating_points": [
            {
                "name": name,
                "threshold": number(threshold),
                **{rate: number(found[rate][0, row]) for rate in RATES},
                **intervals(
                    {rate: found[rate][0, row] for rate in RATES},
                    {rate: drawn[rate][:, row] for rate in RATES},
                    counts_of(bootstrap, dict(zip(RATES, (positive, ~positive, one, ~one), strict=True))),
                ),
            }
            for row, (name, threshold, one) in enumerate(points)
        ],
        **intervals({name: found[name][0] for name in RANKING}, drawn, dict.fromkeys(RANKING, fewest)),
    }


def malignant_warnings(section: dict[str, Any] | None, classes: Sequence[str] = ()) -> list[str]:
    """Why figures of the section are undefined, and which of the classes may have been forgotten."""
    counted = [] if section is None else section["classes"]
    told = []
    if forgotten := [name for name in classes if SUSPECT.search(name) and name not in counted]:
        told = [f"counted as benign: {', '.join(forgotten)} (--malignant A,B names the malignant classes)"]
    if section is not None and not (section["n_malignant"] and section["n_benign"]):
        missing = "benign" if section["n_malignant"] else "malignant"
        told.append(f"no {missing} images: malignant against benign has no ROC curve")
    return told


def _operating_points(positive: Booleans, scores: Floats | None, decided: Booleans) -> list[_OperatingPoint]:
    """The model's own decision, and thresholds that are chosen on these same images.

    `specificity_95` is the most sensitive threshold of at least 95 % specificity, `sensitivity_90` the most
    specific one of at least 90 % sensitivity, `youden` the one with the largest sensitivity + specificity
    (Youden, *Index for rating diagnostic tests*, 1950).
    """
    points = [("decision", float("nan"), decided)]
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
        points.append((name, threshold, scores >= threshold))
    return points


def _rates(positive: Booleans, called: Booleans, weights: Multiplicities) -> dict[str, Floats]:
    """Rates of each operating point in each resample, (resamples, points); `called` is (points, n)."""

    def count(images: Booleans) -> Floats:
        return (weights @ images.T.astype(np.float32)).astype(np.float64)

    hits, misses = count(called & positive), count(~called & positive)
    false_alarms, cleared = count(called & ~positive), count(~called & ~positive)
    return {
        "sensitivity": divide(hits, hits + misses),
        "specificity": divide(cleared, cleared + false_alarms),
        "ppv": divide(hits, hits + false_alarms),
        "npv": divide(cleared, cleared + misses),
    }
