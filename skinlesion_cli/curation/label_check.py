"""Suspicious labels of a data set: those that models that were not trained on the image disagree with."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.curation.groups import groups_of
from skinlesion_cli.metrics.label_errors import find_label_errors
from skinlesion_cli.metrics.predictions import Predictions, read_predictions

OUT_OF_FOLD = "*/fold-*/results/test_predictions.csv"
"""In the folder of a study: the predictions of each run for its held-out images."""


@dataclass(frozen=True)
class LabelDoubt:
    """An image's label, and what the models predict instead."""

    file: str
    """Relative to the data set's folder, with `/`."""
    label: str
    probability: float
    """Of the label, in [0, 1]: the self-confidence."""
    suggested: str
    """The most probable other class."""
    suggested_probability: float
    likely: bool
    """Whether it counts as wrong: the image is confidently of another class."""


@dataclass(frozen=True)
class LabelCheck:
    """The labels of a data set, the most suspicious first."""

    doubts: tuple[LabelDoubt, ...]
    """All images with a prediction; those to review come first."""
    images: int
    """Number of readable images of the data set."""
    estimated: float
    """Estimated number of wrong labels among those with a prediction."""

    @property
    def likely(self) -> int:
        """Number of labels that are counted as wrong."""
        return sum(one.likely for one in self.doubts)

    def summary(self) -> str:
        """The finding in one sentence."""
        return (
            f"suspicious labels, to be reviewed from the top: confident learning doubts {self.likely} of "
            f"{len(self.doubts)} with a prediction ({len(self.doubts)} of {self.images} images); if the "
            "models are weak, most of these are correct"
        )

    def to_dict(self) -> dict[str, Any]:
        """The key `labels` of `data check --json`."""
        return {
            "images": self.images,
            "with_prediction": len(self.doubts),
            "likely_wrong": self.likely,
            "estimated_wrong": self.estimated,
            "ranked": [vars(one) for one in self.doubts],
        }


def read_out_of_fold(path: Path) -> Predictions:
    """The predictions in a CSV file, or the out-of-fold ones in the folder of `skinlesion study --folds K`.

    The probabilities of several methods are averaged. InputError without any, or if they do not fit together.
    """
    files = sorted(path.glob(OUT_OF_FOLD)) if path.is_dir() else [path]
    if not files:
        raise InputError(
            f"{path} contains no out-of-fold predictions: give the folder of a finished "
            "skinlesion study --folds K, or a predictions file"
        )
    tables = [read_predictions(file) for file in files]
    rows: dict[str, list[np.ndarray[Any, Any]]] = defaultdict(list)
    true: dict[str, int] = {}
    for file, one in zip(files, tables, strict=True):
        if one.probabilities is None:
            raise InputError(f"{file} has no probabilities, which are needed to rank the labels")
        if one.classes != tables[0].classes:
            raise InputError(f"{file} and {files[0]} have different classes")
        for image, label, probabilities in zip(one.images, one.true, one.probabilities, strict=True):
            rows[image].append(probabilities)
            true[image] = int(label)
    mean = np.stack([np.mean(values, axis=0) for values in rows.values()])
    labels = np.array(list(true.values()))
    return Predictions(tuple(rows), tables[0].classes, mean.argmax(axis=1), labels, mean)


def check_labels(images: Sequence[tuple[str, str]], predictions: Predictions, root: Path) -> LabelCheck:
    """Rank the labels of images, each a file relative to `root` and its label, by out-of-fold predictions.

    Names match as those of `groups_of`. The label is that of the data set, not that of the predictions file.
    InputError if no name matches, or a label is none of the predicted classes.
    """
    assert predictions.probabilities is not None
    known = {name: str(row) for row, name in enumerate(predictions.images)}
    found = groups_of(known, [file for file, _ in images], root)
    matched = [(one, int(row)) for one, row in zip(images, found, strict=True) if row is not None]
    if not matched:
        raise InputError(
            f"the predictions match none of the {len(images)} images: "
            f"they name {first_few(predictions.images, 2)}"
        )
    classes = predictions.classes
    if unknown := sorted({label for (_, label), _ in matched} - set(classes)):
        raise InputError(
            f"the predictions have no class {first_few(unknown)}; they have {first_few(classes, 20)}"
        )
    probabilities = predictions.probabilities[[row for _, row in matched]]
    errors = find_label_errors(np.array([classes.index(label) for (_, label), _ in matched]), probabilities)
    doubts = tuple(
        LabelDoubt(
            file=matched[row][0][0],
            label=matched[row][0][1],
            probability=float(errors.self_confidence[row]),
            suggested=classes[errors.suggested[row]],
            suggested_probability=float(probabilities[row, errors.suggested[row]]),
            likely=bool(errors.likely[row]),
        )
        for row in errors.order
    )
    return LabelCheck(doubts, len(images), errors.estimated)
