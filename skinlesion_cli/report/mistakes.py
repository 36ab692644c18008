"""The mistakes of which a model was surest, and their pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.common.files import leaves_folder
from skinlesion_cli.metrics.predictions import Predictions

SHOWN = 12


@dataclass(frozen=True)
class Mistake:
    """A wrong answer."""

    image: str
    """As the predictions name it: `class/file` below the split's folder."""
    true: str
    predicted: str
    confidence: float | None
    """The probability of the predicted class; None where there are no probabilities."""
    of_true: float | None
    """That of the true class."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of a mistake, as data URIs."""

    photo: str
    heat: str


def most_confident(predictions: Predictions, shown: int = SHOWN) -> list[Mistake]:
    """The wrong answers with the highest probability, the surest first.

    Args:
        predictions: with known truth; without probabilities the first wrong ones are taken.
        shown: how many, at most.
    """
    true, predicted, probabilities = predictions.true, predictions.predicted, predictions.probabilities
    assert true is not None
    wrong = np.flatnonzero(predicted != true)
    if probabilities is not None:
        wrong = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")]
    return [
        Mistake(
            predictions.images[row],
            predictions.classes[true[row]],
            predictions.classes[predicted[row]],
            None if probabilities is None else float(probabilities[row, predicted[row]]),
            None if probabilities is None else float(probabilities[row, true[row]]),
        )
        for row in wrong[:shown].tolist()
    ]


def draw_mistakes(
    mistakes: Sequence[Mistake],
    checkpoint: Path,
    folder: Path,
    *,
    device: str = "auto",
    on_event: OnEvent = ignore,
) -> dict[str, Pictures]:
    """Draw each mistake with the evidence for the answer that was given.

    Args:
        mistakes: which.
        checkpoint: the model that made them.
        folder: the split's folder.
        device: where to compute.
        on_event: is told of the progress.

    Returns:
        By image; those that can no longer be read are left out.

    Raises:
        SkinLesionError: the checkpoint cannot be read, or is not of these classes.
    """
    from skinlesion_cli.common.errors import UnreadableImageError
    from skinlesion_cli.inference.predictor import load_predictor
    from skinlesion_cli.report.thumbnails import heat_pair
    from skinlesion_cli.saliency.gradcam import explain_classes

    predictor = load_predictor(checkpoint, device=device)
    drawn = {}
    for done, mistake in enumerate(mistakes, start=1):
        # A table from elsewhere must not bring pictures of the rest of the disk onto the page.
        if leaves_folder(mistake.image):
            continue
        try:
            (explanation,) = explain_classes(predictor, folder / mistake.image, labels=[mistake.predicted])
        except UnreadableImageError:
            continue
        drawn[mistake.image] = Pictures(*heat_pair(explanation))
        on_event(ImagesDone("drawing mistakes", done, len(mistakes)))
    return drawn
