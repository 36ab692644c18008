"""Figures within blocks of a set of images: those of one data set, one camera, one clinic.

If classes differ in their source, a model can tell them apart by the source. A figure over all sources then
flatters the model; the figures within each source do not.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinlesion_cli.metrics.arrays import number
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.classification import SUMMARY, figures, score
from skinlesion_cli.metrics.exact import intervals, summary_counts
from skinlesion_cli.metrics.predictions import Predictions


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
    summary = score(predictions, present).summary
    drawn = bootstrap.figures(lambda weights: figures(predictions, weights, present))
    return {
        "n": len(predictions),
        "classes": [predictions.classes[label] for label in present],
        **{name: number(summary[name]) for name in SUMMARY},
        **intervals(summary, drawn, summary_counts(predictions, bootstrap)),
    }
