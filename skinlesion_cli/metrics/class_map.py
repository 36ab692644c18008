"""A class map: common names for the classes of a data set and of a model.

Both sides take their names from the same table. So a data set may have other or finer classes than the model
(its images then count as images of the class that they map to), and the model may have finer ones than the
data set (their probabilities are then summed).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.text import nearest, quoted
from skinlesion_cli.metrics.predictions import Predictions


@dataclass(frozen=True)
class ClassMap:
    """The name for each class that it changes; an empty one leaves the images of the class out."""

    path: Path
    targets: Mapping[str, str]

    def leaves_out(self, name: str) -> bool:
        """Whether images of a class of the data set are left out."""
        return self.targets.get(name) == ""

    def of_model(self, name: str) -> str:
        """The name for a class of the model, which is never left out: such a prediction counts as wrong."""
        return self.targets.get(name) or name

    def models_class(self, names: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
        """For each class of the data set, the first of the model's `classes` with the same name in the map.

        InputError if there is none, or the map has no class of either.
        """
        names = list(dict.fromkeys(names))
        if not self.targets.keys() & {*names, *classes}:
            raise InputError(
                f"{self.path} maps no class of the data or the model: it has "
                f"{first_few(sorted(self.targets))}, the data {first_few(names)}, the model "
                f"{first_few(list(classes))}"
            )
        own: dict[str, str] = {}
        for name in classes:
            own.setdefault(self.of_model(name), name)
        found = {
            name: own.get(self.targets.get(name, name), "") for name in names if not self.leaves_out(name)
        }
        if lost := [name for name, one in found.items() if not one]:
            target = self.targets.get(lost[0], lost[0])
            raise InputError(
                f"{self.path}: of the data's classes, {first_few(lost)} has no counterpart: "
                f"{quoted(target)} is no class of the model{nearest(target, own)}; map it to one, or to an "
                "empty cell"
            )
        return found

    def unused(self, names: Iterable[str], classes: Iterable[str]) -> str:
        """A remark on the rows that name no class of the data set or the model; empty if all do."""
        rest = sorted(self.targets.keys() - {*names, *classes})
        return f"{self.path}: no class of the data or the model is called {first_few(rest)}" if rest else ""

    def merged(self, predictions: Predictions) -> Predictions:
        """Predictions under the names of the map: probabilities of classes with one name are summed.

        The most probable class is then the prediction; without merged classes or probabilities, it stays.
        """
        names = [self.of_model(name) for name in predictions.classes]
        classes = tuple(dict.fromkeys(names))
        place = np.array([classes.index(name) for name in names])
        renamed = replace(
            predictions, classes=classes, predicted=place[predictions.predicted], true=place[predictions.true]
        )
        if len(classes) == len(names) or predictions.probabilities is None:
            return renamed
        summed = predictions.probabilities @ (place[:, None] == np.arange(len(classes)))
        predicted = summed.argmax(axis=1)
        return replace(renamed, predicted=predicted, probabilities=summed, logits=None, temperature=None)


def read_class_map(path: Path) -> ClassMap:
    """Read a CSV file with the columns `from` and `to`.

    InputError if it cannot be read, lacks a column or rows, or names a class twice.
    """
    columns, rows = read_table(path, "the class map in ")
    if not {"from", "to"} <= set(columns) or not rows:
        raise InputError(f"{path} needs the columns from,to and at least one row")
    targets: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        if not row["from"]:
            raise InputError(f"{path}, row {number}: from is an empty cell")
        if targets.setdefault(row["from"], row["to"]) != row["to"]:
            raise InputError(f"{path}, row {number}: {quoted(row['from'])} is mapped twice; keep one row")
    return ClassMap(path, targets)


def left_out_text(path: Path, labels: Sequence[str]) -> str:
    """A remark on the images that a map leaves out, given the class of each; empty if there are none."""
    if not labels:
        return ""
    return f"{path}: {len(labels)} images are left out ({first_few(sorted(set(labels)), 9)})"
