"""Predictions on labelled images, and their CSV file: `image,y_true,y_pred,` and one column per class."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from skinlesion_cli.common.csv_files import csv_rows, require_distinct, write_csv
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.limits import MAX_CLASSES
from skinlesion_cli.common.text import nearest, quoted
from skinlesion_cli.metrics.arrays import Floats, Ints

IMAGE, TRUE, PREDICTED = "image", "y_true", "y_pred"
SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Predictions:
    """Predicted and true classes of n images."""

    images: tuple[str, ...]
    classes: tuple[str, ...]
    predicted: Ints
    """(n,): index into `classes`."""
    true: Ints
    """(n,): index into `classes`."""
    probabilities: Floats | None = None
    """(n, classes), each in [0, 1]; None if only decisions are known."""
    logits: Floats | None = None
    """(n, classes): of the images as they are, before any temperature; None if unknown, as in a CSV file."""
    temperature: float | None = None
    """What the logits were divided by to give the probabilities; None if no temperature was fitted."""

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Sequence[int]) -> "Predictions":
        """The predictions of some images, by index; the classes stay the same."""
        index = list(rows)
        return replace(
            self,
            images=tuple(self.images[row] for row in rows),
            predicted=self.predicted[index],
            true=self.true[index],
            probabilities=None if self.probabilities is None else self.probabilities[index],
            logits=None if self.logits is None else self.logits[index],
        )


Row = tuple[str, str, str, Sequence[float]]
"""Image, true class (empty if unknown), predicted class, and the probability of each class, if known."""


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the CSV file, atomically."""
    classes, probabilities = predictions.classes, predictions.probabilities

    def rows() -> Iterator[Row]:
        for row, image in enumerate(predictions.images):
            values = () if probabilities is None else probabilities[row]
            yield image, classes[predictions.true[row]], classes[predictions.predicted[row]], values

    write_rows(path, classes if probabilities is not None else (), rows())


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write the CSV file, atomically; `columns` are the classes with probabilities; memory stays bounded."""
    cells = (
        [image, true, predicted, *(f"{value:.9g}" for value in values)]
        for image, true, predicted, values in rows
    )
    write_csv(path, [IMAGE, TRUE, PREDICTED, *columns], cells)


def read_predictions(path: Path) -> Predictions:
    """Read a CSV file of predictions, made with any program.

    The columns `image` and `y_true` are required. Every column other than these and `y_pred` is a class and
    contains its probability. Without `y_pred` the most probable class is the prediction; without class
    columns the classes are those that occur.

    Raises:
        InputError: a missing or duplicate column, an unknown class, an empty cell, a duplicate image, or a
            probability that is not a number in [0, 1]; the message names the line.
    """
    header, rows = _read_rows(path)
    columns = tuple(name for name in header if name not in (IMAGE, TRUE, PREDICTED))
    if PREDICTED not in header and not columns:
        raise InputError(f"{path} needs the column {PREDICTED} or one column of probabilities per class")
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
    labels = {name: np.array([index[row[name]] for row in rows.values()], dtype=np.int64) for name in names}
    probabilities = _probabilities(path, rows, columns) if columns else None
    if probabilities is not None and PREDICTED not in labels:
        labels[PREDICTED] = probabilities.argmax(axis=1)
    images = tuple(row[IMAGE] for row in rows.values())
    return Predictions(images, classes, labels[PREDICTED], labels[TRUE], probabilities)


def _read_rows(path: Path) -> tuple[list[str], dict[int, dict[str, str]]]:
    lines = csv_rows(path, "the predictions in ")
    header = next(lines, (0, []))[1]
    for name in (IMAGE, TRUE):
        if name not in header:
            raise InputError(
                f"{path} has no column {name}; the header is image,y_true,y_pred and the classes"
            )
    require_distinct(path, header)
    if "" in header:
        raise InputError(f"{path} has a column without a name")
    rows: dict[int, dict[str, str]] = {}
    for line, cells in lines:
        if len(cells) != len(header):
            raise InputError(f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}")
        rows[line] = dict(zip(header, cells, strict=True))
    if not rows:
        raise InputError(f"{path} contains no predictions")
    return header, rows


def _check_images(path: Path, rows: dict[int, dict[str, str]]) -> None:
    lines: dict[str, int] = {}
    for line, row in rows.items():
        if not row[IMAGE]:
            raise InputError(f"{path}, line {line}: {IMAGE} is an empty cell")
        first = lines.setdefault(row[IMAGE], line)
        if first != line:
            raise InputError(
                f"{path}, line {line}: the image {row[IMAGE]} is a duplicate, first on line {first}; "
                "keep one line per image"
            )


def _probabilities(path: Path, rows: dict[int, dict[str, str]], columns: Sequence[str]) -> Floats:
    values = np.full((len(rows), len(columns)), np.nan)
    for position, (line, row) in enumerate(rows.items()):
        for column, name in enumerate(columns):
            with contextlib.suppress(ValueError):
                values[position, column] = float(row[name])
            if not 0.0 <= values[position, column] <= 1.0:
                where = f"{path}, line {line}, column {name}"
                raise InputError(f"{where}: {quoted(row[name])} is not a probability between 0 and 1")
    return values
