"""Whether a picture that a command wrote shows what it should."""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from skinlesion_cli.report.drawing import save_figure

HOTTEST = (252, 255, 164)
"""The top of the colour map of the heat maps."""


def assert_shows(path: Path, figure: Figure) -> None:
    """The picture is this figure, to the pixel. What figures show is tested in tests/report/test_plots.py."""
    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder) / path.name
        save_figure(figure, expected)
        assert np.array_equal(pixels(path), pixels(expected)), path


def pixels_of(path: Path, colour: tuple[int, int, int]) -> int:
    """How many pixels of a picture have a colour."""
    return int((np.abs(pixels(path).astype(int) - colour) < 2).all(axis=2).sum())


def pixels(path: Path) -> np.ndarray:
    """The colours of a picture, (height, width, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
