"""Metrics within parts of a set of images: one data set, one camera; women, or people of 70 and over.

If classes differ in their source, a model can distinguish them by the source. A metric over all sources is
then too optimistic; the metrics within each source are not. And a metric over all people hides for whom a
model fails; the metrics within each subgroup, and the largest gap between them, show it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinlesion_cli.metrics.arrays import Booleans, Floats, Multiplicities, number
from skinlesion_cli.metrics.bins import UNKNOWN, Partition
from skinlesion_cli.metrics.bootstrap import LEVEL, Bootstrap
from skinlesion_cli.metrics.classification import SUMMARY, Decisions, Figures, score
from skinlesion_cli.metrics.exact import counts_of, intervals, summary_counts
from skinlesion_cli.metrics.malignant import Rates, counted_by
from skinlesion_cli.metrics.packed import Packed
from skinlesion_cli.metrics.predictions import Predictions

OF_CLASSES = ("weighted_f1", "macro_f1", "balanced_accuracy")
OF_MALIGNANT = ("sensitivity", "specificity")
METRICS = (*OF_CLASSES, *OF_MALIGNANT)
"""The figures of a subgroup; higher is better."""
MIN_SUBGROUP, MIN_KIND = 20, 10
"""Lesions or patients (images, where those are unknown) below which a subgroup has no figures; malignant or
benign ones below which it has no sensitivity or specificity."""
_SAME = 1e-9


def block_section(
    predictions: Predictions, sources: Sequence[str] | None, bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """The evaluation document's section of summary figures within each block, by source.

    Predictions stay as they are: an image that is given a class of another block counts as wrong. Means over
    the classes are over those that have images in the block. A source is empty for an image without a block.
    """
    if sources is None:
        return None
    blocks = {}
    for name in sorted(set(sources) - {""}):
        rows = [row for row, source in enumerate(sources) if source == name]
        blocks[name] = _block(predictions.take(rows), bootstrap.take(rows))
    return blocks


def block_warnings(blocks: Mapping[str, Any] | None, summary: Mapping[str, float]) -> list[str]:
    """Which figures are undefined in a block of `block_section`, but defined over all images (`summary`)."""
    found = []
    for source, block in (blocks or {}).items():
        undefined = [name for name in SUMMARY if block[name] is None and not math.isnan(summary[name])]
        if undefined:
            found.append(f"among the images of {source} alone, undefined: {', '.join(undefined)}")
    return found


def _block(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    present = np.unique(predictions.true).tolist()
    figures_of = Figures(predictions)
    summary, drawn = score(predictions, figures_of).summary, bootstrap.figures(figures_of)
    return {
        "n": len(predictions),
        "classes": [predictions.classes[label] for label in present],
        **{name: number(summary[name]) for name in SUMMARY},
        **intervals(summary, drawn, summary_counts(predictions, bootstrap)),
    }


@dataclass(frozen=True)
class Calls:
    """Which images are malignant, and which are called so, each (n,)."""

    positive: Booleans
    called: Booleans


@dataclass(frozen=True)
class _Estimate:
    """A figure of a subgroup, its values (resamples,), and the images or groups that it counts."""

    value: float
    drawn: Floats
    n: float


def subgroup_sections(
    predictions: Predictions, by: Mapping[str, Partition], calls: Calls | None, bootstrap: Bootstrap
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The evaluation document's `subgroups` and `gaps`, for each column of `by`.

    As in `block_section`, predictions stay as they are, and means over the classes are over those that the
    subgroup has. All images are resampled together, so that a patient in two subgroups is in both or neither.
    Sensitivity and specificity are those of `calls`; None without malignant classes.
    """
    subgroups: dict[str, Any] = {}
    gaps: dict[str, Any] = {}
    for column, partition in by.items():
        found = {}
        subgroups[column] = {}
        for name, rows in partition.members():
            document, found[name] = _subgroup(predictions, rows, calls, bootstrap)
            subgroups[column][name] = document
        found.pop(UNKNOWN, None)
        gaps[column] = {metric: _gap(metric, found, bootstrap.seed) for metric in METRICS}
    return subgroups, gaps


def _subgroup(
    predictions: Predictions, rows: Sequence[int], calls: Calls | None, bootstrap: Bootstrap
) -> tuple[dict[str, Any], dict[str, _Estimate]]:
    """A subgroup's document, and the estimates that are not withheld."""
    part, own = predictions.take(rows), bootstrap.take(rows)
    present = np.unique(part.true).tolist()
    positive, called = (
        (np.zeros(len(part), dtype=bool),) * 2
        if calls is None
        else (calls.positive[rows], calls.called[rows])
    )

    decisions, rates = Decisions(part), Rates(positive, called[None])

    def figures_of(weights: Multiplicities) -> dict[str, Floats]:
        packed = Packed(weights)
        return decisions(packed) | {name: values[:, 0] for name, values in rates(packed).items()}

    found = figures_of(np.ones((1, len(part)), dtype=np.uint8))
    drawn = bootstrap.figures(lambda weights: figures_of(weights[:, rows]))
    counted = summary_counts(part, own) | counts_of(own, counted_by(positive, called))
    reasons = _withheld(own, positive, calls is not None)
    kept = {
        name: _Estimate(float(found[name][0]), drawn[name], counted[name])
        for name in METRICS
        if name not in reasons and "" not in reasons
    }
    document = {
        "n": len(part),
        "groups": None if own.groups is None else len(set(own.groups)),
        "classes": len(present),
        "n_malignant": None if calls is None else int(positive.sum()),
        **{name: number(kept[name].value) if name in kept else None for name in METRICS},
        **intervals(
            {name: one.value for name, one in kept.items()},
            {name: one.drawn for name, one in kept.items()},
            {name: one.n for name, one in kept.items()},
        ),
        "withheld": "; ".join(filter(None, reasons.values())) or None,
    }
    document["ci95"] = {name: document["ci95"].get(name) for name in METRICS}
    return document, kept


def _withheld(bootstrap: Bootstrap, positive: Booleans, has_malignant: bool) -> dict[str, str]:
    """Why figures are withheld, by their name; the empty name stands for all of them."""
    kinds = {"malignant": positive, "benign": ~positive, "all": np.ones_like(positive)}
    counts, unit = counts_of(bootstrap, kinds), bootstrap.unit
    if counts["all"] < MIN_SUBGROUP:
        return {"": f"{counts['all']:.0f} {unit}, fewer than {MIN_SUBGROUP}"}
    if not has_malignant:
        return dict.fromkeys(OF_MALIGNANT, "")
    return {
        figure: f"{figure}: {counts[kind]:.0f} {unit} with {kind} images, fewer than {MIN_KIND}"
        if unit == "groups"
        else f"{figure}: {counts[kind]:.0f} {kind} images, fewer than {MIN_KIND}"
        for figure, kind in zip(OF_MALIGNANT, ("malignant", "benign"), strict=True)
        if counts[kind] < MIN_KIND
    }


def _gap(metric: str, subgroups: Mapping[str, Mapping[str, _Estimate]], seed: int) -> dict[str, Any]:
    """The largest gap between subgroups, with a simultaneous interval; None with fewer than two of them.

    Let e_k be the error of the metric in subgroup k. The true gap, and the true difference of the two
    subgroups that stand out in this sample, both differ from the measured gap by at most max e − min e. So
    the 95% quantile of this range, from the resamples, is half the width of the interval: like Tukey's, it
    takes into account that the two subgroups were chosen among several. A percentile interval of the gap
    would be wrong: chance widens the gap in the sample, and again in each resample.
    """
    found = {name: of[metric] for name, of in subgroups.items() if metric in of}
    found = {name: one for name, one in found.items() if not math.isnan(one.value)}
    if len(found) < 2:
        return {"gap": None, "ci95": None, "between": None}
    generator = np.random.default_rng(seed)
    errors = np.stack([_varied(one, generator) - one.value for one in found.values()])
    defined = errors[:, ~np.isnan(errors).any(axis=0)]
    best, worst = (choose(found, key=lambda name: found[name].value) for choose in (max, min))
    gap = found[best].value - found[worst].value
    half = float(np.quantile(np.ptp(defined, axis=0), LEVEL)) if defined.size else math.nan
    ends = None if math.isnan(half) else [max(gap - half, -1.0), min(gap + half, 1.0)]
    return {"gap": gap, "ci95": ends, "between": [best, worst]}


def _varied(one: _Estimate, generator: np.random.Generator) -> Floats:
    """The resampled values; if all are the same, which is not informative, draws that fit an exact interval.

    The ends of a Clopper–Pearson interval are quantiles of beta distributions: of x = n hits among n, the
    lower one is of Beta(n, 1); of none, the upper one is of Beta(1, n).
    """
    defined = one.drawn[~np.isnan(one.drawn)]
    if len(defined) and np.ptp(defined) > _SAME:
        return one.drawn
    hits = one.value * one.n
    return np.asarray(generator.beta(max(hits, 1.0), max(one.n - hits, 1.0), size=len(one.drawn)))
