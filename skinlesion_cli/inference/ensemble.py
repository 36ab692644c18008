"""Several trained models as one: the mean of their calibrated probabilities."""

import dataclasses
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.inference.inputs import ImageInput, listed
from skinlesion_cli.inference.prediction import Failure, Prediction
from skinlesion_cli.inference.predictor import Predictor, load_predictor
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.metrics.predictions import Predictions


class Ensemble(Predictor):
    """A predictor that averages the probabilities of its members, each calibrated separately."""

    def __init__(self, members: Sequence[Predictor]):
        """Join models with the same classes; InputError if they differ."""
        first = members[0]
        for one in members[1:]:
            if one.classes != first.classes:
                raise InputError(
                    f"{one.file} and {first.file} have different classes, or the same in another order"
                )
        description = dataclasses.replace(
            first.checkpoint, temperature=1.0, distance_limit=None, false_alarm_rate=None
        )
        super().__init__(description, first.backend, batch_size=first.batch_size, workers=first.workers)
        self._members = tuple(members)

    @property
    def members(self) -> tuple[Predictor, ...]:
        """The models that it consists of."""
        return self._members

    def with_prior(self, prior: str | Path | Mapping[str, float]) -> Self:
        """The same ensemble, with members adapted to another class prior."""
        made = super().with_prior(prior)
        made._members = tuple(one.with_prior(prior) for one in self._members)
        return made

    def predict_many(
        self, images: Iterable[ImageInput], *, on_event: OnEvent = ignore, **options: Any
    ) -> Iterator[Prediction | Failure]:
        """Like `Predictor.predict_many`; the distance is the mean of the members', if all have one."""
        # An open file can be read once only.
        images = [_again(one) for one in listed(images, on_event)]
        streams = [
            # Only one of them reports progress.
            one.predict_many(images, **options, on_event=ignore if member else on_event, member=member)
            for member, one in enumerate(self._members)
        ]
        return map(self._joined, zip(*streams, strict=True))

    def _joined(self, results: Sequence[Prediction | Failure]) -> Prediction | Failure:
        found = [one for one in results if isinstance(one, Prediction)]
        if len(found) < len(results):
            return next(one for one in results if isinstance(one, Failure))
        distances = [one.distance for one in found if one.distance is not None]
        distance = float(np.mean(distances)) if len(distances) == len(found) else None
        mean = np.mean([list(one.probabilities.values()) for one in found], axis=0)
        originals = [list(one.original.values()) for one in found if one.original is not None]
        original = np.mean(originals, axis=0) if originals else None
        return self._prediction(found[0].image, mean, distance, original)


def load_models(files: Sequence[Path], **options: Any) -> Predictor:
    """Load a model, or several as an ensemble; `options` of `load_predictor`.

    Raises:
        InputError: a file is missing, refused or damaged, or the classes of two models differ.
    """
    members = [load_predictor(file, **options) for file in files]
    return members[0] if len(members) == 1 else Ensemble(members)


def mean_of(parts: Sequence[Predictions], temperatures: Sequence[float | None]) -> Predictions:
    """The predictions of an ensemble, from those of its members (with their temperatures) on the same images.

    The logits are those whose softmax is the mean of the probabilities without flips.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    mean = np.mean([one.probabilities for one in parts if one.probabilities is not None], axis=0)
    pairs = zip(parts, temperatures, strict=True)
    plain = [softmax(one.logits, t) for one, t in pairs if one.logits is not None]
    logits = np.log(np.mean(plain, axis=0)) if plain else None
    return dataclasses.replace(
        first, predicted=mean.argmax(axis=1), probabilities=mean, logits=logits, temperature=None
    )


def _again(image: ImageInput) -> ImageInput:
    return io.BytesIO(image.read()) if hasattr(image, "read") else image
