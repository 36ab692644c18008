"""Predictions on a set of images, and their CSV file: `image,y_true,y_pred,` and a column for each class."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.common.csv_files import csv_rows, require_distinct, write_csv
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.limits import MAX_CLASSES
from skinlesion_cli.common.text import nearest, quoted

IMAGE, TRUE, PREDICTED = "image", "y_true", "y_pred"
SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Predictions:
    """Predicted and, where they are known, true classes of n images."""

    images: tuple[str, ...]
    classes: tuple[str, ...]
    predicted: NDArray[np.int64]
    """(n,): index into `classes`."""
    true: NDArray[np.int64] | None = None
    """(n,): index into `classes`; None where the truth is unknown."""
    probabilities: NDArray[np.float64] | None = None
    """(n, classes), each in [0, 1]; None where only decisions are known."""

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Sequence[int]) -> "Predictions":
        """The predictions of some images, by their places; the classes stay as they are."""
        return Predictions(
            images=tuple(self.images[row] for row in rows),
            classes=self.classes,
            predicted=self.predicted[list(rows)],
            true=None if self.true is None else self.true[list(rows)],
            probabilities=None if self.probabilities is None else self.probabilities[list(rows)],
        )


Row = tuple[str, str, str, Sequence[float]]
"""Image, true class (empty where unknown), predicted class, and the probability of each class, if known."""


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the CSV file, whole or not at all. An unknown truth is an empty cell."""
    classes, probabilities = predictions.classes, predictions.probabilities

    def rows() -> Iterator[Row]:
        for row, image in enumerate(predictions.images):
            true = "" if predictions.true is None else classes[predictions.true[row]]
            values = () if probabilities is None else probabilities[row]
            yield image, true, classes[predictions.predicted[row]], values

    write_rows(path, classes if probabilities is not None else (), rows())


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write the CSV file from rows as they come, whole or not at all; none is kept.

    Args:
        path: the file.
        columns: classes whose probabilities each row has.
        rows: of the file.
    """
    cells = (
        [image, true, predicted, *(f"{value:.9g}" for value in values)]
        for image, true, predicted, values in rows
    )
    write_csv(path, [IMAGE, TRUE, PREDICTED, *columns], cells)


def read_predictions(path: Path) -> Predictions:
    """Read predictions made anywhere.

    The columns `image` and `y_true` must be there. Every column beside them and `y_pred` is a class and holds
    its probability. Without `y_pred` the most probable class is the prediction; without class columns the
    classes are those that occur.

    Raises:
        InputError: a missing or doubled column, an unknown class, a missing cell, an image that stands twice,
            a probability that is no number in [0, 1]; the message names the line.
    """
    header, rows = _read_rows(path)
    columns = tuple(name for name in header if name not in (IMAGE, TRUE, PREDICTED))
    if PREDICTED not in header and not columns:
        raise InputError(f"{path} needs the column {PREDICTED} or a column of probabilities for each class")
    names = [name for name in (TRUE, PREDICTED) if name in header]
    classes = columns or tuple(sorted({row[name] for row in rows.values() for name in names} - {""}))
    if len(classes) > MAX_CLASSES:
        raise InputError(f"{path} has {len(classes):,} classes; at most {MAX_CLASSES:,} can be scored")
    _check_images(path, rows)
    index = {name: position for position, name in enumerate(classes)}
    for line, row in rows.items():
        for name in names:
            if row[name] not in index:
                what = "an empty cell"
                if row[name]:
                    what = f"the class {quoted(row[name])}, which has no column{nearest(row[name], classes)}"
                raise InputError(f"{path}, line {line}: {name} is {what}")
    probabilities = _probabilities(path, rows, columns) if columns else None
    if PREDICTED in header:
        predicted = np.array([index[row[PREDICTED]] for row in rows.values()], dtype=np.int64)
    else:
        assert probabilities is not None
        predicted = probabilities.argmax(axis=1)
    return Predictions(
        images=tuple(row[IMAGE] for row in rows.values()),
        classes=classes,
        predicted=predicted,
        true=np.array([index[row[TRUE]] for row in rows.values()], dtype=np.int64),
        probabilities=probabilities,
    )


def _read_rows(path: Path) -> tuple[list[str], dict[int, dict[str, str]]]:
    lines = csv_rows(path, "the predictions in ")
    header = next(lines, (0, []))[1]
    _check_header(path, header)
    rows: dict[int, dict[str, str]] = {}
    for line, cells in lines:
        if len(cells) != len(header):
            raise InputError(f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}")
        rows[line] = dict(zip(header, cells, strict=True))
    if not rows:
        raise InputError(f"{path} holds no predictions")
    return header, rows


def _check_header(path: Path, header: Sequence[str]) -> None:
    for name in (IMAGE, TRUE):
        if name not in header:
            raise InputError(
                f"{path} has no column {name}; the header is image,y_true,y_pred and the classes"
            )
    require_distinct(path, header)
    if "" in header:
        raise InputError(f"{path} has a column without a name")


def _check_images(path: Path, rows: dict[int, dict[str, str]]) -> None:
    lines: dict[str, int] = {}
    for line, row in rows.items():
        if not row[IMAGE]:
            raise InputError(f"{path}, line {line}: {IMAGE} is an empty cell")
        first = lines.setdefault(row[IMAGE], line)
        if first != line:
            raise InputError(
                f"{path}, line {line}: the image {row[IMAGE]} stands on line {first} already; "
                "leave one line for each image"
            )


def _probabilities(
    path: Path, rows: dict[int, dict[str, str]], columns: Sequence[str]
) -> NDArray[np.float64]:
    values = np.empty((len(rows), len(columns)))
    for position, (line, row) in enumerate(rows.items()):
        for column, name in enumerate(columns):
            values[position, column] = _probability(row[name], f"{path}, line {line}, column {name}")
    return values


def _probability(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{where}: {quoted(text)} is not a probability between 0 and 1")
    return value
