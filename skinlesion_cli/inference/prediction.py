"""The result for one image: a prediction, or why there is none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.tables import Html, Tabular, html_bar, html_picture, html_table
from skinlesion_cli.common.text import probability_text
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.thumbnail import data_uri

SHOWN = 5
"""Number of classes that a notebook shows for a prediction."""


@dataclass(frozen=True)
class Prediction(Tabular):
    """The model's prediction for one image."""

    image: str
    """The path as it was given, or `image N`, by its index, for an image in memory."""
    label: str
    """The most probable class."""
    confidence: float
    """Its probability, in [0, 1]."""
    probabilities: dict[str, float]
    """Probability of every class, in the model's order; they sum to 1."""
    distance: float | None = None
    """Distance from the training images, as a multiple of the detector's limit; None without a detector."""
    original: dict[str, float] | None = None
    """The probabilities for the training prior, if the others are for another prior (see `with_prior`)."""

    @property
    def out_of_distribution(self) -> bool | None:
        """Whether the image is unlike the training images; None if the model has no detector."""
        return None if self.distance is None else self.distance > 1

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` most probable classes with their probabilities, best first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:k]

    def is_uncertain(self, min_confidence: float) -> bool:
        """Whether the confidence is below a limit in [0, 1]."""
        return self.confidence < min_confidence

    def values(self) -> list[float | str]:
        """The prediction's columns in the CSV file of `predict`: probabilities, warning, distance."""
        known = self.distance is not None
        warning = ("false", "true")[bool(self.out_of_distribution)] if known else ""
        return [*self.probabilities.values(), warning, f"{self.distance:.6g}" if known else ""]

    def rows(self) -> list[dict[str, Any]]:
        """A row per class: `class` and `probability`, in the model's order."""
        return [{"class": name, "probability": one} for name, one in self.probabilities.items()]

    def _repr_html_(self) -> str:
        """The most probable classes as bars, and the photograph if its file can still be read."""
        rows = [
            {"class": name, "probability": probability_text(one), "": html_bar(one)}
            for name, one in self.top(SHOWN)
        ]
        unlike = "; unlike the training images" if self.out_of_distribution else ""
        return _picture_of(self.image) + html_table(rows, self.image + unlike)

    def to_dict(self, min_confidence: float = 0.0) -> dict[str, Any]:
        """The prediction as one item of the list that `predict --json` prints.

        With a `min_confidence` above 0, `uncertain` says whether the confidence is lower.
        """
        return {
            "image": self.image,
            "class": self.label,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
            "out_of_distribution": self.out_of_distribution,
            "distance": self.distance,
            **({} if self.original is None else {"original_probabilities": self.original}),
            **({"uncertain": self.is_uncertain(min_confidence)} if min_confidence > 0 else {}),
        }


def _picture_of(image: str) -> str:
    """A thumbnail of a file, or nothing; an image in memory has a name without suffix."""
    path = Path(image)
    try:
        if path.suffix and path.is_file():
            return html_picture(data_uri(read_image(path)), image)
    except (UnreadableImageError, OSError):
        pass
    return Html()


@dataclass(frozen=True)
class Failure:
    """An image that could not be read."""

    image: str
    error: str

    def to_dict(self, min_confidence: float = 0.0) -> dict[str, Any]:  # noqa: ARG002 - like that of a `Prediction`
        """The failure as one item of the list that `predict --json` prints."""
        return {"image": self.image, "error": self.error}
