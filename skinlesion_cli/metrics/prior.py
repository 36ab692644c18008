"""Prior correction: predictions for a population with other class frequencies (label shift)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import nearest, quoted
from skinlesion_cli.metrics.arrays import Floats

UNIFORM = "uniform"


def retarget(probabilities: Floats, trained: Sequence[float], wanted: Floats) -> Floats:
    """Probabilities (n, classes) under another prior: p'(i) ∝ p(i) q(i) / π(i) (Saerens et al., 2002).

    Args:
        probabilities: of a model that was trained for the prior π, each row sums to 1.
        trained: π (classes,), each above 0.
        wanted: q (classes,), not negative; a class with 0 is never predicted.
    """
    moved = probabilities * (wanted / np.asarray(trained))
    total: Floats = moved.sum(axis=1, keepdims=True)
    # A row of zeros: all of its probability was on classes that do not occur in the population.
    safe = np.where(total > 0, total, 1.0)
    found: Floats = np.where(total > 0, moved / safe, wanted / wanted.sum())
    return found


def read_prior(source: str | Path | Mapping[str, float], classes: Sequence[str]) -> Floats:
    """The share of each class, summing to 1: `uniform`, a mapping, or a CSV file of class,share.

    Raises:
        InputError: the file cannot be read, a class is unknown, missing or a duplicate, or shares are
            negative or all 0.
    """
    if source == UNIFORM:
        return np.full(len(classes), 1 / len(classes))
    shares: dict[str, float] = {}
    name = "the prior"
    if isinstance(source, Mapping):
        shares = dict(source)
    else:
        name, (columns, rows) = str(source), read_table(Path(source))
        if not {"class", "share"} <= set(columns):
            raise InputError(f"{source} needs the columns class,share")
        for row in rows:
            try:
                share = float(row["share"])
            except ValueError:
                share = float("nan")
            if row["class"] in shares or not 0 <= share < float("inf"):
                fault = f"{quoted(row['class'])} with the share {quoted(row['share'])}"
                raise InputError(f"{source}: {fault} is a duplicate, or not a number of at least 0")
            shares[row["class"]] = share
    for one in shares:
        if one not in classes:
            raise InputError(f"{name}: the model has no class {quoted(one)}{nearest(one, classes)}")
    if missing := [one for one in classes if one not in shares]:
        raise InputError(f"{name} has no share of {quoted(missing[0])}; give 0 if it does not occur")
    values = np.array([shares[one] for one in classes], dtype=np.float64)
    if not values.sum() > 0:
        raise InputError(f"{name}: all shares are 0")
    shares_of: Floats = values / values.sum()
    return shares_of
