"""The axes of a chart: their range, their ticks and what stands at each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """One axis: a range of values with ticks on it."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    text: Callable[[float], str] = "{:g}".format
    """What stands at a tick."""

    def place(self, value: float) -> float:
        """Where a value lies between the ends, from 0 to 1; what lies beyond an end is put on it."""
        share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)


def share_axis(label: str, *, few: bool = False) -> Axis:
    """From 0 to 1, with a tick at each quarter, or at the ends and the middle alone."""
    return Axis(label, 0.0, 1.0, (0.0, 0.5, 1.0) if few else (0.0, 0.25, 0.5, 0.75, 1.0))


def fitted_axis(label: str, values: Sequence[float], *, at_most: int = 6, from_zero: bool = True) -> Axis:
    """A range that holds all finite values, with ticks at round numbers, about `at_most` of them.

    Args:
        label: of the axis.
        values: what must fit; others than finite ones are left out.
        at_most: ticks, about.
        from_zero: begin at 0 where no value lies below.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if from_zero:
        low = min(low, 0.0)
    if high <= low:
        high = low + 1.0
    step = _round_step((high - low) / at_most)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = tuple(round(index * step, 10) for index in range(first, last + 1))
    return Axis(label, ticks[0], ticks[-1], ticks)


def epoch_axis(epochs: int) -> Axis:
    """From the first epoch to the last, with ticks at whole numbers."""
    step = max(1, round(_round_step(epochs / 6)))
    ticks = tuple(range(step if step > 1 else 1, epochs + 1, step))
    ticks = ticks if step == 1 else (1, *ticks)
    return Axis("Epoch", 1.0, max(float(epochs), 2.0), tuple(float(tick) for tick in ticks))


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5, 10, … times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
