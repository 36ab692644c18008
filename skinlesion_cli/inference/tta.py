"""Test-time augmentation: the mean answer over a picture and its mirror images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.inference.backend import Answers, Backend
from skinlesion_cli.metrics.paired import Pair, compare
from skinlesion_cli.metrics.predictions import Predictions

FLIPS = ((), (3,), (2,), (2, 3))
"""Axes of (n, 3, side, side) that are turned round: none, left to right, top to bottom, both. A lesion has no
right way up."""


class FlipAveraged:
    """A backend whose probabilities are the mean over `FLIPS`."""

    def __init__(self, backend: Backend):
        self._backend = backend

    @property
    def img_size(self) -> int:
        """Side of the images that the model takes, in pixels."""
        return self._backend.img_size

    def answers(self, images: NDArray[np.uint8]) -> Answers:
        """What the model says of a batch of bytes; the distances are those of the pictures as they are."""
        views = [self._backend.answers(np.ascontiguousarray(np.flip(images, axes))) for axes in FLIPS]
        return Answers(np.mean([one.probabilities for one in views], axis=0), views[0].distances)


def tta_section(plain: Predictions, averaged: Predictions, groups: Sequence[str] | None) -> dict[str, Any]:
    """What averaging over the flips changes, for the document that `--json` prints.

    Args:
        plain: predictions on the pictures as they are, with known truth.
        averaged: on the same images, in the same order.
        groups: lesion or patient of each image, for the intervals; None takes images as independent.

    Returns:
        `views`, the number of flips; `differences` of the summary figures, `a` without and `b` with the
        flips; `mcnemar_p`.
    """
    compared = compare(Pair(plain, averaged), groups)
    return {"views": len(FLIPS), **{key: compared[key] for key in ("differences", "mcnemar_p")}}
