"""Class-activation maps of an ensemble: the means of its members' maps."""

import dataclasses
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.images import read_image
from skinlesion_cli.inference.predictor import Predictor
from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.saliency.explanation import Explanation, explain_classes, probability_of
from skinlesion_cli.saliency.faithfulness import faithfulness


def explain_ensemble(
    predictor: Predictor,
    photograph: Path | Image.Image,
    *,
    labels: Sequence[str] = (),
    top: int = 1,
    measured: bool = False,
    **options: Any,
) -> list[Explanation]:
    """Map the evidence for some classes, over all members; arguments as in `explain_classes`.

    Each member's map is scaled to a maximum of 1 before the mean, so that none outweighs the others.
    Confidence and faithfulness are the ensemble's.

    Raises:
        InputError: the members see different parts of the photograph, or have layers of different sizes.
    """
    image = read_image(photograph) if isinstance(photograph, Path) else photograph
    prediction = predictor.predict(image)
    chosen = labels or [label for label, _ in prediction.top(top)]
    every = [explain_classes(one, image, labels=chosen, **options) for one in predictor.members]
    joined = [
        dataclasses.replace(
            _mean(found, predictor.members),
            confidence=prediction.probabilities[found[0].label],
            predicted=prediction.label,
        )
        for found in zip(*every, strict=True)
    ]
    return [_measured(predictor, one) for one in joined] if measured else joined


def _mean(found: Sequence[Explanation], members: Sequence[Predictor]) -> Explanation:
    first = found[0]
    for one, member in zip(found, members, strict=True):
        if (one.frame, one.heat.shape, one.grid) != (first.frame, first.heat.shape, first.grid):
            raise InputError(
                f"{members[0].file} and {member.file} have views or layers of different sizes, so their maps "
                "cannot be averaged: explain them one by one"
            )
    raw = _scaled(np.mean([_scaled(one.raw) for one in found], axis=0))
    heat = _scaled(np.mean([one.heat for one in found], axis=0))
    return dataclasses.replace(first, raw=raw, heat=heat)


def _scaled(map_: NDArray[np.float32]) -> NDArray[np.float32]:
    """With a maximum of 1; an empty map stays 0."""
    most = map_.max()
    return map_ / most if most > 0 else map_


def _measured(predictor: Predictor, one: Explanation) -> Explanation:
    backend, index = predictor.backend, predictor.classes.index(one.label)
    pixels = view(one.image, backend.img_size, backend.resize)
    each = [probability_of(member.backend, index, member.temperature) for member in predictor.members]

    def probability(images: NDArray[np.uint8]) -> Floats:
        mean: Floats = np.mean([of_member(images) for of_member in each], axis=0)
        return mean

    seed = zlib.crc32(pixels.tobytes())
    return dataclasses.replace(
        one, faithfulness=faithfulness(probability, pixels, one.heat, one.grid, seed=seed)
    )
