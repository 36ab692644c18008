"""Predictions on labelled images, and their CSV file: `image,y_true,y_pred,` and one column per class."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skinlesion_cli.common.csv_files import csv_rows, require_distinct, write_csv
from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.limits import MAX_CLASSES
from skinlesion_cli.common.text import nearest, quoted
from skinlesion_cli.metrics.arrays import Booleans, Floats, Ints

if TYPE_CHECKING:
    from skinlesion_cli.metrics.class_map import ClassMap

IMAGE, TRUE, PREDICTED = "image", "y_true", "y_pred"
FOREIGN, DISTANCE = "out_of_distribution", "distance"
"""Columns that `predict` adds; they are not classes."""
SUM_TOLERANCE = 0.01
ROUNDING = 1e-6
"""How far outside [0, 1] a probability may be: float32 gives 1.0000001."""


@dataclass(frozen=True)
class Predictions:
    """Predicted and true classes of n images, each (n,), as indices of `classes`."""

    images: tuple[str, ...]
    classes: tuple[str, ...]
    predicted: Ints
    true: Ints
    probabilities: Floats | None = None
    """(n, classes), each in [0, 1]; None if only decisions are known."""
    logits: Floats | None = None
    """(n, classes): of the unflipped images, before any temperature; None if unknown, as in a CSV file."""
    temperature: float | None = None
    """What the logits were divided by to give the probabilities; None if no temperature was fitted."""
    remarks: tuple[str, ...] = ()
    """What was left out of the file that they were read from."""

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


Row = tuple[str, str, str, Sequence[float | str]]
"""Image, true class (empty if unknown), predicted class, and the probability of each class, if known."""


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the CSV file, atomically."""
    classes, probabilities = predictions.classes, predictions.probabilities
    values: Iterable[Sequence[float]] = [()] * len(predictions) if probabilities is None else probabilities
    parts = zip(predictions.images, predictions.true, predictions.predicted, values, strict=True)
    rows = ((image, classes[true], classes[predicted], row) for image, true, predicted, row in parts)
    write_rows(path, () if probabilities is None else classes, rows)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write the CSV file, atomically; `columns` are those of the values; memory stays bounded."""
    cells = (
        [image, true, predicted, *(value if isinstance(value, str) else f"{value:.9g}" for value in values)]
        for image, true, predicted, values in rows
    )
    write_csv(path, [IMAGE, TRUE, PREDICTED, *columns], cells)


Truth = Callable[[Sequence[str]], Sequence[str | None]]
"""The true class of each image, None where it is unknown."""


def read_predictions(
    path: Path,
    classes: Sequence[str] | None = None,
    *,
    truth: Truth | None = None,
    class_map: "ClassMap | None" = None,
) -> Predictions:
    """Read a CSV file of predictions, made with any program.

    The columns `image` and `y_true` are required. The columns of `classes` contain their probabilities;
    without `classes`, those named like a class of the rows, and those that complete the sum to 1. Others are
    ignored, with a remark. Without `y_pred` the most probable class is the prediction; without class columns
    the classes are those that occur. InputError for a missing or duplicate column, an unknown class, an empty
    cell, a duplicate image, or a probability that is not a number in [0, 1]; the message names the line.

    Args:
        truth: gives the true classes in place of `y_true`; images without one are left out.
        class_map: common names for the true classes and those of the file.
    """
    header, rows = _read_rows(path, (IMAGE,) if truth else (IMAGE, TRUE))
    _check_images(path, rows)
    remarks: list[str] = []
    if truth is not None:
        rows, remarks = _with_truth(rows, truth)
        header = list(dict.fromkeys([*header, TRUE]))
    if class_map is not None:
        from skinlesion_cli.metrics.class_map import left_out_text

        dropped = {line: row[TRUE] for line, row in rows.items() if class_map.leaves_out(row[TRUE])}
        rows = {line: row for line, row in rows.items() if line not in dropped}
        remarks.append(left_out_text(class_map.path, list(dropped.values())))
        if not rows:
            raise InputError(f"{class_map.path} leaves out every image of {path}")
    others = [name for name in header if name not in (IMAGE, TRUE, PREDICTED, FOREIGN, DISTANCE)]
    place = {name: column for column, name in enumerate(others)}
    names = [name for name in (TRUE, PREDICTED) if name in header]
    occurring = {row[name] for row in rows.values() for name in names} - {""}
    values = _numbers(rows, others)
    if classes is None:
        columns = list(itertools.compress(others, _are_classes(values, others, occurring)))
    else:
        columns = [name for name in classes if name in place]
        if columns and (missing := [name for name in classes if name not in place]):
            raise InputError(f"{path} has no column of the class {first_few(missing)}")
    if PREDICTED not in header and not (columns or (others and classes is None)):
        raise InputError(f"{path} needs the column {PREDICTED} or one column of probabilities per class")
    classes = tuple(classes or columns or (() if others else sorted(occurring)))
    if len(classes) > MAX_CLASSES:
        raise InputError(f"{path} has {len(classes):,} classes; at most {MAX_CLASSES:,} can be scored")
    if class_map is not None:
        found = {row[TRUE] for row in rows.values()} - {""}
        own = class_map.models_class(sorted(found), classes)
        remarks.append(class_map.unused({*found, *dropped.values()}, classes))
        rows = {line: row | {TRUE: own.get(row[TRUE], row[TRUE])} for line, row in rows.items()}
    index = {name: position for position, name in enumerate(classes)}
    ignored = [name for name in others if name not in index or not columns]
    for line, row in rows.items():
        for name in names:
            if row[name] not in index:
                what = "an empty cell"
                if row[name]:
                    what = f"the class {quoted(row[name])}, which has no column{nearest(row[name], others)}"
                    what += f"; columns that are no class: {first_few(ignored, 9)}" if ignored else ""
                raise InputError(f"{path}, line {line}: {name} is {what}")
    labels = {name: np.array([index[row[name]] for row in rows.values()], dtype=np.int64) for name in names}
    taken = values[:, [place[name] for name in columns]]
    probabilities = _probabilities(path, rows, columns, taken) if columns else None
    if probabilities is not None:
        labels.setdefault(PREDICTED, probabilities.argmax(axis=1))
    images = tuple(row[IMAGE] for row in rows.values())
    told = f"{path}: the classes are {first_few(classes, 20)}; ignored: {first_few(ignored, 20)} "
    remarks += [told + "(evaluate --classes names others)"] if ignored else []
    made = Predictions(
        images, classes, labels[PREDICTED], labels[TRUE], probabilities, remarks=tuple(filter(None, remarks))
    )
    return made if class_map is None else class_map.merged(made)


def _with_truth(rows: dict[int, dict[str, str]], truth: Truth) -> tuple[dict[int, dict[str, str]], list[str]]:
    """The rows that have a true class, with it; and a remark if the file has others."""
    found = dict(zip(rows, truth([row[IMAGE] for row in rows.values()]), strict=True))
    kept = {line: row | {TRUE: found[line] or ""} for line, row in rows.items() if found[line] is not None}
    given = [line for line in kept if rows[line].get(TRUE)]
    differing = sum(rows[line][TRUE] != found[line] for line in given)
    text = f"{TRUE} of {differing} of {len(given)} rows differs from the truth, which is scored"
    return kept, [text] if differing else []


def _are_classes(values: Floats, columns: Sequence[str], occurring: set[str]) -> Booleans:
    """Which columns contain the probabilities of a class, (columns,); `values` are (n, columns).

    A class without images completes the sum of each row to 1, unlike an age, a fold, or a confidence.
    """
    named = np.array([name in occurring for name in columns], dtype=bool)
    with np.errstate(all="ignore"):
        rest = 1.0 - values[:, named].sum(axis=1, keepdims=True)
        fits = (values >= -ROUNDING) & (values <= rest + SUM_TOLERANCE)
        more = ~named & fits.all(axis=0) & values.any(axis=0)
        error = np.abs(rest - values[:, more].sum(axis=1, keepdims=True)).max()
        completes = error <= SUM_TOLERANCE and error < np.abs(rest).max()
    return named | more if completes else named


def _read_rows(path: Path, required: Sequence[str]) -> tuple[list[str], dict[int, dict[str, str]]]:
    lines = csv_rows(path, "the predictions in ")
    header = next(lines, (0, []))[1]
    for name in required:
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
            fault = f"the image {row[IMAGE]} is a duplicate, first on line {first}; keep one line per image"
            raise InputError(f"{path}, line {line}: {fault}")


def _numbers(rows: dict[int, dict[str, str]], columns: Sequence[str]) -> Floats:
    """The cells of the columns, (n, columns); NaN where a cell is not a number."""
    values = np.full((len(rows), len(columns)), np.nan)
    for position, row in enumerate(rows.values()):
        for column, name in enumerate(columns):
            with contextlib.suppress(ValueError):
                values[position, column] = float(row[name])
    return values


def _probabilities(
    path: Path, rows: dict[int, dict[str, str]], columns: Sequence[str], values: Floats
) -> Floats:
    # Written so that NaN is refused, too.
    for position, column in np.argwhere(~((values >= -ROUNDING) & (values <= 1.0 + ROUNDING))):
        line, name = list(rows)[position], columns[column]
        fault = f"{quoted(rows[line][name])} is not a probability between 0 and 1"
        raise InputError(f"{path}, line {line}, column {name}: {fault}")
    return np.asarray(values.clip(0.0, 1.0))
