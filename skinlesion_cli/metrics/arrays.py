"""Array types, division without errors, and how figures are written to a JSON document."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Multiplicities = NDArray[np.integer[Any]]
"""(resamples, n): how often each resample contains each of n images; whole numbers."""


def divide(numerator: Any, denominator: Any) -> Any:
    """The quotient, NaN where the denominator is not above 0; a plain number for plain numbers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(np.asarray(denominator) > 0, np.divide(numerator, denominator), np.nan)
    return quotient if quotient.ndim else float(quotient)


def number(value: float) -> float | None:
    """The figure, or None (null in JSON) for NaN: an undefined figure is never reported as 0 or 1."""
    return None if math.isnan(value) else float(value)


def bounds(interval: tuple[float, float]) -> list[float] | None:
    """An interval as [low, high], or None where it is undefined."""
    return None if math.isnan(interval[0]) else [float(interval[0]), float(interval[1])]
