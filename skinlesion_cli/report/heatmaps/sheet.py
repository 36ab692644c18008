"""Contact sheets: many photographs, each beside its Grad-CAM map, in a few figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from skinlesion_cli.report.drawing import DPI, save_figure
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.report.heatmaps.captions import folded, text_of, true_class, verdict
from skinlesion_cli.report.heatmaps.files import TILES
from skinlesion_cli.report.heatmaps.paint import bar_colours
from skinlesion_cli.report.heatmaps.thumbnails import heat_pictures
from skinlesion_cli.saliency.cam_methods import METHODS
from skinlesion_cli.saliency.explanation import Explanation

COLUMNS = 4
INCHES, GAP, FOOT = 1.9, 0.1, 0.45
"""The side of an image, the distance between two, and the space below all of them."""
LINE = 0.115
"""Height of a line of a caption."""
CHARACTERS = 30
"""Maximum length of a line below an image that does not run into its neighbour."""
TITLE = "{method}. Left: the photograph, framed: what the model saw. Right: its evidence for the class below."


class Tile(NamedTuple):
    """A photograph and its map on a sheet, already downscaled, so that memory stays bounded."""

    photograph: Image.Image
    heat: Image.Image
    below_photograph: list[str]
    below_heat: list[str]
    method: str


class Sheets:
    """Writes each sheet as soon as it is full. Call `end` after the last photograph."""

    def __init__(self, paths: Sequence[Path], **options: Any):
        """`options` are those of `painted`."""
        self._paths, self._options = list(paths), options
        self._tiles: list[Tile] = []
        self.written: list[Path] = []

    def add(self, name: str, explanations: Sequence[Explanation], true: str | None = None) -> Path:
        """Put a photograph's maps on the sheet; returns the sheet that holds the first of them."""
        holds = self._next
        for one in explanations:
            # One pixel of the sheet each: averaging would give colours that are not in the colour bar.
            pictures = heat_pictures(one, side=round(INCHES * DPI), **self._options)
            self._tiles.append(Tile(*pictures, *captions(name, one, true), one.method))
            if len(self._tiles) == TILES:
                self.end()
        return holds

    def end(self) -> None:
        """Write the last sheet, which may not be full."""
        if self._tiles:
            save_figure(contact_sheet(self._tiles), self._next)
            self.written.append(self._next)
            self._tiles = []

    @property
    def _next(self) -> Path:
        return self._paths[len(self.written)]


def captions(name: str, one: Explanation, true: str | None = None) -> tuple[list[str], list[str]]:
    """The lines below a photograph and below its map; the end of a long file name is kept."""
    left = folded(name, CHARACTERS, most=3, keep_end=True) + folded(true_class(true), CHARACTERS)
    right = folded(f"{one.label}, {probability_text(one.confidence)}", CHARACTERS)
    right += folded(verdict(one, true), CHARACTERS)
    return left, right if one.heat.any() else [*right, "empty: no positive evidence"]


def contact_sheet(tiles: Sequence[Tile]) -> Figure:
    """Pairs of photographs and maps in a grid, above their captions, with one colour bar."""
    columns = min(len(tiles), COLUMNS)
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    sizes = [_row_height(row) for row in rows]
    width = columns * 2 * (INCHES + GAP)
    title = folded(TITLE.format(method=METHODS[tiles[0].method].title), round(14 * width))
    head = 0.15 * (1 + len(title))
    height = head + FOOT + sum(map(sum, sizes))
    figure = Figure(figsize=(width, height))
    figure.text(0, 1, "\n".join(title), va="top", fontsize=9)
    top = height - head
    for row, (pictures, texts) in zip(rows, sizes, strict=True):
        top -= pictures
        for column, tile in enumerate(row):
            left = column * 2 * (INCHES + GAP)
            for picture, lines in ((tile.photograph, tile.below_photograph), (tile.heat, tile.below_heat)):
                place = (left / width, top / height, INCHES / width, pictures / height)
                _draw(figure.add_axes(place), picture, lines)
                left += INCHES + GAP / 2
        top -= texts
    colours, steps = bar_colours()
    place = (0.02, 0.25 / height, min(0.96, 4 / width), 0.12 / height)
    bar = figure.colorbar(ScalarMappable(steps, colours), figure.add_axes(place), orientation="horizontal")
    bar.set_label("evidence for the class, relative to the map's maximum", fontsize=7, labelpad=2)
    bar.ax.tick_params(labelsize=7, length=2, pad=1)
    return figure


def _row_height(row: Sequence[Tile]) -> tuple[float, float]:
    """The heights of the images and of the captions in a row, in inches."""
    pictures = max(min(1, tile.heat.height / tile.heat.width) for tile in row)
    lines = max(len(lines) for tile in row for lines in (tile.below_photograph, tile.below_heat))
    return INCHES * pictures, LINE * (lines + 2)


def _draw(axes: Axes, picture: Image.Image, lines: Sequence[str]) -> None:
    axes.set_axis_off()
    axes.imshow(picture, interpolation="nearest")
    # Images of different heights are aligned at the bottom, above their captions.
    axes.set_anchor("S")
    units = ("axes fraction", "offset points")
    axes.annotate(text_of(lines), (0.5, 0), (0, -4), *units, ha="center", va="top", fontsize=6.5)
