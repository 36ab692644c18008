"""Types of arrays, and the division that leaves a figure undefined instead of failing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Multiplicities = NDArray[np.float32]
"""(resamples, n): how often each resample holds each of n images; whole numbers."""


def divide(numerator: Any, denominator: Any) -> Any:
    """The quotient, NaN where the denominator is not above 0; a plain number for plain numbers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(np.asarray(denominator) > 0, np.divide(numerator, denominator), np.nan)
    return quotient if quotient.ndim else float(quotient)
