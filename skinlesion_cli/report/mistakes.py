"""The wrong predictions with the highest confidence, and their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.common.files import leaves_folder
from skinlesion_cli.metrics.predictions import Predictions

SHOWN = 12
Pictures = tuple[str, str]
"""A photograph, and the same under its Grad-CAM map, as data URIs."""


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction."""

    image: str
    """`class/file` below the split's folder."""
    true: str
    predicted: str
    confidence: float | None
    """The probability of the predicted class; None without probabilities."""
    of_true: float | None
    """The probability of the true class."""


def most_confident(predictions: Predictions) -> list[Mistake]:
    """The wrong predictions with the highest confidence, in that order; the first without probabilities."""
    true, predicted, probabilities = predictions.true, predictions.predicted, predictions.probabilities
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
        for row in wrong[:SHOWN].tolist()
    ]


def draw_mistakes(
    mistakes: Sequence[Mistake], checkpoint: Path, folder: Path, *, device: str, on_event: OnEvent = ignore
) -> dict[str, Pictures]:
    """For each wrong prediction whose image can still be read in the split's folder, its photograph and map.

    Raises:
        SkinLesionError: the checkpoint cannot be read, or has other classes.
    """
    from skinlesion_cli.common.errors import UnreadableImageError
    from skinlesion_cli.data.thumbnail import data_uri
    from skinlesion_cli.inference.predictor import load_predictor
    from skinlesion_cli.report.heatmaps.thumbnails import heat_pictures
    from skinlesion_cli.saliency.explanation import explain_classes

    predictor = load_predictor(checkpoint, device=device)
    drawn = {}
    for done, mistake in enumerate(mistakes, start=1):
        # An untrusted predictions file must not bring other images of this disk onto the page.
        if leaves_folder(mistake.image):
            continue
        try:
            (explanation,) = explain_classes(predictor, folder / mistake.image, labels=[mistake.predicted])
        except UnreadableImageError:
            continue
        photograph, heat = heat_pictures(explanation)
        drawn[mistake.image] = (data_uri(photograph), data_uri(heat))
        on_event(ImagesDone("drawing errors", done, len(mistakes)))
    return drawn
