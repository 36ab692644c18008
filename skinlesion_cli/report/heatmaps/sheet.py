"""Contact sheets: the Grad-CAM maps of many photographs in a few pictures."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from PIL import Image

from skinlesion_cli.common.text import printable
from skinlesion_cli.report.drawing import save_figure, without_formula, wrapped
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.report.heatmaps.files import TILES
from skinlesion_cli.report.heatmaps.thumbnails import heat_pictures
from skinlesion_cli.saliency.cam_methods import METHODS
from skinlesion_cli.saliency.gradcam import Explanation

COLUMNS = 8
TILE_INCHES = 1.9
CHARACTERS = 26
"""Of a line below a tile that does not run into its neighbour."""


class Tile(NamedTuple):
    """One map on a sheet, at its small size, so that memory does not grow with the photographs."""

    picture: Image.Image
    text: str
    method: str


class Sheets:
    """Writes each sheet as soon as it is full. Call `end` after the last photograph."""

    def __init__(self, paths: Sequence[Path], *, alpha: float):
        self._paths, self._alpha = list(paths), alpha
        self._tiles: list[Tile] = []
        self.written: list[Path] = []

    def add(self, name: str, explanations: Sequence[Explanation]) -> Path:
        """Put a photograph's maps on the sheet; returns the sheet that holds the first of them."""
        holds = self._next
        for one in explanations:
            _, heat = heat_pictures(one, opacity=self._alpha)
            self._tiles.append(Tile(heat, caption(name, one.label, one.confidence), one.method))
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


def caption(name: str, label: str, confidence: float) -> str:
    """The text below a tile; long lines are wrapped, and the beginning of a long file name is left out."""
    name = printable(name)
    name = name if len(name) <= 2 * CHARACTERS else "…" + name[-2 * CHARACTERS + 1 :]
    below = wrapped(label, CHARACTERS, f", {probability_text(confidence)}")
    return f"{wrapped(name, CHARACTERS)}\n{below}"


def contact_sheet(tiles: Sequence[Tile]) -> Figure:
    """A grid of maps, each above its text."""
    columns = min(len(tiles), COLUMNS)
    rows = math.ceil(len(tiles) / columns)
    figure = Figure(figsize=(columns * TILE_INCHES, rows * (TILE_INCHES + 0.5)), layout="constrained")
    title = f"{METHODS[tiles[0].method].title}: bright where the evidence is; framed: what the model saw"
    figure.suptitle(textwrap.fill(title, columns * CHARACTERS), fontsize=8)
    for axes in figure.subplots(rows, columns, squeeze=False).ravel():
        axes.set_axis_off()
    for axes, tile in zip(figure.axes, tiles, strict=False):
        axes.imshow(tile.picture, interpolation="antialiased")
        # At a fixed distance below the picture: pictures differ in height.
        text, units = without_formula(tile.text), ("axes fraction", "offset points")
        axes.annotate(text, (0.5, 0), (0, -4), *units, ha="center", va="top", fontsize=6.5)
    return figure
