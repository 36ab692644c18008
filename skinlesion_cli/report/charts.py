"""Small charts as SVG inside the page: lines, bars, marks, and the strip that shows an interval.

Colours are classes, which page.css gives the Okabe–Ito set's values for light and for dark; where two lines
share a chart, one is dashed or has dots as well, so that no meaning hangs on colour alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from skinlesion_cli.report.axes import Axis
from skinlesion_cli.report.markup import Markup, lines, tag

CHARACTER = 6.4
"""About the width of a character of a chart's text, in its own units."""


@dataclass(frozen=True)
class Line:
    """Points that are joined; a point that is not finite interrupts the line."""

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    colour: str = "blue"
    """blue, orange, green or grey."""
    dashed: bool = False
    dots: bool = False
    joined: bool = True
    """False: the dots alone."""


@dataclass(frozen=True)
class Bar:
    """A bar from the axis up, over a range of x."""

    low: float
    high: float
    height: float
    label: str


@dataclass(frozen=True)
class Point:
    """A marked point with its name beside it."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Size:
    """A chart's size and margins, in its own units: pixels at its natural size."""

    width: int
    height: int
    left: int
    bottom: int
    top: int = 10
    right: int = 12


WIDE = Size(420, 280, left=50, bottom=42)
SMALL = Size(172, 170, left=42, bottom=34, right=8)


def chart(
    title: str,
    x: Axis,
    y: Axis,
    *,
    lines_: Sequence[Line] = (),
    bars: Sequence[Bar] = (),
    points: Sequence[Point] = (),
    kept: tuple[float, str] | None = None,
    chance: tuple[tuple[float, float], tuple[float, float]] | None = None,
    size: Size = WIDE,
) -> Markup:
    """Draw a chart.

    Args:
        title: what it shows, for those who hear the page.
        x: the horizontal axis.
        y: the vertical axis.
        lines_: drawn over the bars; those with a label are named above the chart.
        bars: drawn first.
        points: drawn last.
        kept: an x that a vertical line marks, and its name.
        chance: two ends of a thin dashed line to compare with: chance, or perfection.
        size: of the whole.
    """
    legend = [line for line in lines_ if line.label]
    legend_rows = list(_legend_rows(legend, kept, size))
    plot = _Plot(x, y, size, top=size.top + 18 * len(legend_rows))
    return tag(
        "svg",
        tag("title", title),
        *(_legend_row(row, number, size) for number, row in enumerate(legend_rows)),
        plot.grid(),
        *(plot.bar(bar) for bar in bars),
        plot.path([chance[0][0], chance[1][0]], [chance[0][1], chance[1][1]], "chance") if chance else None,
        plot.vertical(kept[0]) if kept else None,
        *(plot.line(line) for line in lines_),
        *(plot.point(point) for point in points),
        class_="chart",
        role="img",
        viewBox=f"0 0 {size.width} {size.height}",
        width=size.width,
        height=size.height,
    )


class _Plot:
    """The area between the axes."""

    def __init__(self, x: Axis, y: Axis, size: Size, top: int):
        self.x, self.y, self.size, self.top = x, y, size, top
        self.width = size.width - size.left - size.right
        self.height = size.height - top - size.bottom
        self.floor = top + self.height

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies, to half a pixel: a curve of thousands of points then needs a few hundred."""
        across = self.size.left + self.width * self.x.place(x)
        down = self.floor - self.height * self.y.place(y)
        return round(across * 2) / 2, round(down * 2) / 2

    def grid(self) -> Markup:
        """Ticks, their texts and the axes' labels."""
        left, right = self.size.left, self.size.left + self.width
        parts = []
        for tick in self.y.ticks:
            _, down = self.at(self.x.low, tick)
            parts.append(tag("line", class_="grid", x1=left, x2=right, y1=f"{down:g}", y2=f"{down:g}"))
            text = self.y.text(tick)
            parts.append(tag("text", text, class_="tick end", x=left - 6, y=f"{down + 4:g}"))
        for tick in self.x.ticks:
            across, _ = self.at(tick, self.y.low)
            anchor = "tick end" if tick == self.x.high and self.size is SMALL else "tick middle"
            parts.append(tag("text", self.x.text(tick), class_=anchor, x=f"{across:g}", y=self.floor + 15))
        middle = left + self.width / 2
        low = self.size.height - 4
        parts.append(tag("text", self.x.label, class_="label middle", x=f"{middle:g}", y=low))
        half = self.top + self.height / 2
        turned = f"rotate(-90 11 {half:g})"
        parts.append(tag("text", self.y.label, class_="label middle", x=11, y=f"{half:g}", transform=turned))
        return tag("g", *parts)

    def bar(self, bar: Bar) -> Markup:
        """A bar that tells its label to the pointer."""
        left, up = self.at(bar.low, bar.height)
        right, _ = self.at(bar.high, bar.height)
        shape = {"x": f"{left + 0.5:g}", "y": f"{up:g}"}
        extent = {"width": f"{max(right - left - 1, 0.5):g}", "height": f"{self.floor - up:g}"}
        return tag("rect", tag("title", bar.label), class_="bar", **shape, **extent)

    def line(self, line: Line) -> Markup:
        """A line with its dots."""
        kind = f"line {line.colour}{' dashed' if line.dashed else ''}"
        parts = [self.path(line.x, line.y, kind)] if line.joined else []
        if line.dots:
            for x, y in zip(line.x, line.y, strict=True):
                if math.isfinite(y):
                    across, down = self.at(x, y)
                    name = f"{line.label or self.y.label}, {self.x.label.lower()} {x:.4g}: {y:.4f}"
                    where = {"cx": f"{across:g}", "cy": f"{down:g}", "r": 2.6}
                    parts.append(tag("circle", tag("title", name), class_=f"dot {line.colour}", **where))
        return lines(parts)

    def path(self, x: Sequence[float], y: Sequence[float], kind: str) -> Markup:
        """A line through points, without those that change nothing of what is seen."""
        runs: list[list[tuple[float, float]]] = [[]]
        for one_x, one_y in zip(x, y, strict=True):
            if math.isfinite(one_x) and math.isfinite(one_y):
                _append(runs[-1], self.at(one_x, one_y))
            elif runs[-1]:
                runs.append([])
        text = " ".join("M" + " ".join(f"{across:g},{down:g}" for across, down in run) for run in runs if run)
        return tag("path", class_=kind, d=text)

    def vertical(self, x: float) -> Markup:
        """A vertical line from the floor to the top."""
        across, _ = self.at(x, self.y.low)
        return tag("line", class_="kept", x1=f"{across:g}", x2=f"{across:g}", y1=self.top, y2=self.floor)

    def point(self, point: Point) -> Markup:
        """A ring with its name on the side where there is room."""
        across, down = self.at(point.x, point.y)
        room = self.size.left + self.width - across > CHARACTER * len(point.label) + 10
        kind, shift = ("name", 9) if room else ("name end", -9)
        text = tag("text", point.label, class_=kind, x=f"{across + shift:g}", y=f"{down + 13:g}")
        return lines([tag("circle", class_="ring", cx=f"{across:g}", cy=f"{down:g}", r=4.5), text])


def _append(run: list[tuple[float, float]], at: tuple[float, float]) -> None:
    """Add a point, in place of the last one where that lay on the way to it, level or upright."""
    if run and run[-1] == at:
        return
    if len(run) > 1:
        (ax, ay), (bx, by) = run[-2], run[-1]
        level = ay == by == at[1] and (bx - ax) * (at[0] - bx) > 0
        upright = ax == bx == at[0] and (by - ay) * (at[1] - by) > 0
        if level or upright:
            run[-1] = at
            return
    run.append(at)


_LegendItem = tuple[str, str]


def _legend_rows(
    legend: Sequence[Line], kept: tuple[float, str] | None, size: Size
) -> Iterator[list[_LegendItem]]:
    """The classes of the sample lines and their names, as many a row as fit."""
    items = [(f"line {line.colour}{' dashed' if line.dashed else ''}", line.label) for line in legend]
    items += [("kept", kept[1])] if kept else []
    row: list[_LegendItem] = []
    for item in items:
        if row and sum(_legend_width(one) for one in [*row, item]) > size.width - size.left - size.right:
            yield row
            row = []
        row.append(item)
    if row:
        yield row


def _legend_width(item: _LegendItem) -> float:
    return 36 + CHARACTER * len(item[1])


def _legend_row(row: list[_LegendItem], number: int, size: Size) -> Markup:
    across, down, parts = float(size.left), size.top + 4 + 18 * number, []
    for kind, name in row:
        parts.append(tag("line", class_=kind, x1=f"{across:g}", x2=f"{across + 20:g}", y1=down, y2=down))
        parts.append(tag("text", name, class_="name", x=f"{across + 26:g}", y=down + 4))
        across += _legend_width((kind, name))
    return tag("g", *parts)


def strip(value: float, ends: tuple[float, float] | None, title: str) -> Markup:
    """A figure between 0 and 1 as a dot, with its interval as a line through it."""
    width, height = 120.0, 12.0

    def across(share: float) -> str:
        return f"{4 + (width - 8) * min(max(share, 0.0), 1.0):.1f}"

    parts = [tag("line", class_="track", x1=4, x2=width - 4, y1=6, y2=6)]
    if ends is not None:
        parts.append(tag("line", class_="whisker", x1=across(ends[0]), x2=across(ends[1]), y1=6, y2=6))
    parts.append(tag("circle", class_="dot blue", cx=across(value), cy=6, r=3.5))
    shape = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return tag("svg", tag("title", title), *parts, class_="strip", role="img", **shape)


def share_bar(share: float, colour: str = "blue") -> Markup:
    """A bar as long as a share, in [0, 1], of its cell. For the eye alone: the cell says the figure."""
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}"
    return tag(
        "svg",
        tag("rect", class_=f"fill {colour}", width=width, height=4),
        class_="share",
        viewBox="0 0 100 4",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
