"""What figures become in a JSON document: a figure that is undefined is null there, never 0 or 1."""

import math


def number(value: float) -> float | None:
    """The figure, or None for NaN."""
    return None if math.isnan(value) else float(value)


def bounds(interval: tuple[float, float]) -> list[float] | None:
    """An interval as [low, high], or None where it is undefined."""
    return None if math.isnan(interval[0]) else [float(interval[0]), float(interval[1])]
