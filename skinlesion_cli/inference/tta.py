"""Test-time augmentation: the mean probabilities over an image and its mirror images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.metrics.paired import change_section
from skinlesion_cli.metrics.predictions import Predictions

FLIPS = ((), (3,), (2,), (2, 3))
"""Axes of (n, 3, side, side) to flip: none, left-right, top-bottom, both. A lesion has no orientation."""


def flipped(images: NDArray[np.uint8], flips: bool) -> list[NDArray[np.uint8]]:
    """The views of a batch (n, 3, side, side): the batch itself and, with `flips`, its mirror images."""
    return [np.ascontiguousarray(np.flip(images, axes)) for axes in (FLIPS if flips else FLIPS[:1])]


def tta_section(
    averaged: Predictions, temperature: float | None, groups: Sequence[str] | None
) -> dict[str, Any]:
    """The evaluation document's section on the effect of averaging over flips: `a` without, `b` with."""
    assert averaged.logits is not None
    logits = averaged.logits
    plain = replace(averaged, predicted=logits.argmax(axis=1), probabilities=softmax(logits, temperature))
    return {"views": len(FLIPS), **change_section(plain, averaged, Bootstrap(len(averaged), groups))}
