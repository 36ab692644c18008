"""Class balance: effective numbers, loss weights and sampling probabilities.

In plain Python, so that `skinlesion weights` does not import numpy or torch.

Sources: Cui et al., *Class-Balanced Loss Based on Effective Number of Samples*, CVPR 2019, equation 2 and
section 4 (the effective number); Regmi and Xu, *Skin Lesion Classification with MobileViTv2 and Dual-Weighted
Learning*, 2025 (its use together with power-law sampling).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.csv_files import csv_rows
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.limits import MAX_CLASSES
from skinlesion_cli.common.text import folded, quoted


@dataclass(frozen=True)
class ClassBalance:
    """One class of a balance table."""

    name: str
    count: int
    """Training images, at least 1."""
    share: float
    """count / all images, in (0, 1]."""
    effective_number: float
    """(1 - beta^count) / (1 - beta), in [1, count]."""
    weight: float
    """Loss weight; the weights of all classes have mean 1."""
    sampling_probability: float
    """Probability that a sampled training image is of this class; over all classes they sum to 1."""
    effective_prior: float
    """The class's share of the whole loss weight of a step, in (0, 1); see `effective_prior`."""


def effective_number(count: int, beta: float) -> float:
    """Effective number of a class of n = `count` images (Cui et al. 2019, eq. 2): (1 - beta^n) / (1 - beta).

    `beta` is in [0, 1]; 0 gives 1 whatever the count, and 1 is taken as the limit, the count itself.
    """
    if beta == 0.0:
        return 1.0
    if beta == 1.0:
        return float(count)
    # expm1 keeps the digits where beta^n is close to 1.
    return -math.expm1(count * math.log(beta)) / (1.0 - beta)


def ens_weights(counts: Sequence[int], beta: float) -> list[float]:
    """Loss weight of each class: 1 / effective number, scaled to mean 1 over the classes.

    Counts are at least 1, and `beta` is in [0, 1]; 0 gives all ones, 1 the inverse frequency.
    """
    inverse = [1.0 / effective_number(count, beta) for count in counts]
    mean = math.fsum(inverse) / len(inverse)
    return [value / mean for value in inverse]


def sampling_probabilities(counts: Sequence[int], alpha: float) -> list[float]:
    """Probability that class i is sampled: n_i^alpha / sum_j n_j^alpha, of counts of at least 1.

    `alpha` is in [0, 1]; 0 samples classes uniformly, 1 by frequency; the paper uses 0.5.
    """
    powers = [count**alpha for count in counts]
    total = math.fsum(powers)
    return [power / total for power in powers]


def effective_prior(counts: Sequence[int], alpha: float, beta: float) -> list[float]:
    """The class prior for which training with these sampling and loss weights is optimal; sums to 1.

    A step minimises Σ_i p_i w_i E[-log q(i|x)], with the sampling probability p and the loss weight w. Its
    optimum is Bayes' rule for the prior π_i ∝ p_i w_i ∝ n_i^alpha w_i.
    """
    parts = zip(sampling_probabilities(counts, alpha), ens_weights(counts, beta), strict=True)
    products = [probability * weight for probability, weight in parts]
    total = math.fsum(products)
    return [product / total for product in products]


def imbalance_ratio(counts: Sequence[int]) -> float:
    """Images of the largest class per image of the smallest."""
    return max(counts) / min(counts)


def balance_table(counts: Mapping[str, int], beta: float, alpha: float) -> list[ClassBalance]:
    """The balance of every class, in the order of `counts`.

    InputError without classes, for a count below 1, or for `beta` or `alpha` outside [0, 1].
    """
    for name, value in (("beta", beta), ("alpha", alpha)):
        if not 0.0 <= value <= 1.0:
            raise InputError(f"{name} is {value}; it must be between 0 and 1")
    if not counts:
        raise InputError("there are no classes to weight")
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"class {name!r} has the count {count}; every class needs at least 1 image")
    numbers = list(counts.values())
    total = sum(numbers)
    parts = zip(
        numbers,
        ens_weights(numbers, beta),
        sampling_probabilities(numbers, alpha),
        effective_prior(numbers, alpha, beta),
        strict=True,
    )
    return [
        ClassBalance(name, count, count / total, effective_number(count, beta), *others)
        for name, (count, *others) in zip(counts, parts, strict=True)
    ]


def read_counts(path: Path) -> dict[str, int]:
    """Read a CSV file with `class` (or `name`) and `count`, in its own order; an InputError names the line.

    Other columns, such as those that `weights --csv` writes, are ignored.
    """
    counts: dict[str, int] = {}
    seen: dict[str, str] = {}
    rows = csv_rows(path, "the counts in ")
    columns = [name.lower() for name in next(rows, (0, []))[1]]
    if "class" not in columns:
        columns = ["class" if name == "name" else name for name in columns]
    if not {"class", "count"} <= set(columns):
        raise InputError(f"{path} needs a first line with the columns class,count or name,count")
    for line, cells in rows:
        where = f"{path}, line {line}"
        row = dict(zip(columns, cells, strict=False))
        name, count = row.get("class", ""), row.get("count", "")
        if not name:
            raise InputError(f"{where}: the class has no name")
        if (other := seen.setdefault(folded(name), name)) != name:
            fault = f"{quoted(name)} differs from {quoted(other)} only in case or Unicode form"
            raise InputError(f"{where}: the class {fault}")
        if name in counts:
            raise InputError(f"{where}: duplicate class {quoted(name)}")
        if len(counts) == MAX_CLASSES:
            raise InputError(f"{path} has more than {MAX_CLASSES:,} classes")
        # The length limit keeps huge numbers from int(). "1e9" is not a count; "١٢" is one.
        if not re.fullmatch(r"\d{1,15}", count) or int(count) < 1:
            fault = f"class {quoted(name)} has the count {quoted(count)}"
            raise InputError(f"{where}: {fault}; it must be a whole number above 0")
        counts[name] = int(count)
    if not counts:
        raise InputError(f"{path} has no classes")
    return counts
