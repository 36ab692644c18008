"""Figures within blocks of a set of images: those of one data set, one camera, one clinic.

Classes that differ in their source can be told apart by the source. A figure over all sources then flatters a
model; the figures within each do not.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinlesion_cli.metrics.bootstrap import RESAMPLES, interval, resampled_figures
from skinlesion_cli.metrics.classification import SUMMARY, score
from skinlesion_cli.metrics.documents import bounds, number
from skinlesion_cli.metrics.predictions import Predictions


def block_section(
    predictions: Predictions,
    sources: Sequence[str] | None,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Summary figures within each block, as the evaluation document holds them.

    Answers stay as they are: an image that is given a class of another block counts as wrong. Means over the
    classes are over those that have images in the block.

    Args:
        predictions: with known truth.
        sources: block of each image, an empty text for one that is in none; None where unknown.
        groups: lesion or patient of each image, for the intervals; None where unknown.
        resamples: number of bootstrap resamples.
        seed: of the resampling.

    Returns:
        By source: `n`, `classes`, the figures of `metrics.SUMMARY` and `ci95`.
    """
    if sources is None:
        return None
    blocks = {}
    for name in sorted(set(sources) - {""}):
        rows = [row for row, source in enumerate(sources) if source == name]
        of_groups = None if groups is None else [groups[row] for row in rows]
        blocks[name] = _block(predictions.take(rows), of_groups, resamples, seed)
    return blocks


def block_warnings(blocks: Mapping[str, Any] | None, summary: Mapping[str, float]) -> list[str]:
    """Which figures are undefined in a block, though they are defined over all images.

    Args:
        blocks: of `block_section`.
        summary: the figures over all images.
    """
    found = []
    for source, block in (blocks or {}).items():
        undefined = [name for name in SUMMARY if block[name] is None and not math.isnan(summary[name])]
        if undefined:
            found.append(f"among the images of {source} alone, undefined: {', '.join(undefined)}")
    return found


def _block(
    predictions: Predictions, groups: Sequence[str] | None, resamples: int, seed: int
) -> dict[str, Any]:
    assert predictions.true is not None
    present = np.unique(predictions.true).tolist()
    summary = score(predictions, present).summary
    drawn = resampled_figures(predictions, groups, labels=present, resamples=resamples, seed=seed)
    return {
        "n": len(predictions),
        "classes": [predictions.classes[label] for label in present],
        **{name: number(summary[name]) for name in SUMMARY},
        "ci95": {name: bounds(interval(drawn[name])) for name in SUMMARY},
    }
