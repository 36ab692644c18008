import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from skinlesion_cli.data.framing import Frame
from skinlesion_cli.report.heatmaps.paint import STEPS, bar_colours, painted
from skinlesion_cli.saliency.explanation import Explanation

RAW = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 10]], np.float32)


def explanation(raw: np.ndarray = RAW) -> Explanation:
    image = Image.new("RGB", (90, 90))
    heat = np.asarray(Image.fromarray(raw / (raw.max() or 1)).resize((90, 90), Image.Resampling.BILINEAR))
    return Explanation(image, Frame(0, 0, 90, 90), heat, raw.shape, "layer", "x", 0.5, raw=raw)


def test_each_cell_is_outlined_in_the_colour_of_its_step_of_the_bar() -> None:
    drawn = np.asarray(painted(explanation(), (300, 300)))
    colours, steps = bar_colours()
    assert not drawn[:100, :100, 3].any(), "a line where there is no evidence"
    for row, column in np.argwhere(RAW > 0):
        cell = drawn[row * 100 : row * 100 + 100, column * 100 : column * 100 + 100]
        expected = colours(steps(RAW[row, column] / 10 - 0.05), bytes=True)
        assert (cell[cell[..., 3] > 0] == expected).all()
        # All along its edge, and nowhere else.
        assert cell[0, :, 3].all()
        assert cell[:, -1, 3].all()
        assert not cell[10:90, 10:90, 3].any()
    assert colours(STEPS - 1, bytes=True) == colormaps["inferno"](1.0, bytes=True)


def test_without_gaps_between_the_lines_it_is_the_whole_map() -> None:
    drawn = np.asarray(painted(explanation(), (300, 300), alpha=1))
    assert (drawn[..., 3] == 255).all()
    expected = colormaps["inferno"](np.ceil(RAW) / 10, bytes=True)
    assert (drawn[50::100, 50::100] == expected).all()


def test_cells_are_not_interpolated_unless_asked_for() -> None:
    one = explanation()
    values = [
        len(np.unique(np.asarray(painted(one, (300, 300), alpha=1, smooth=smooth))[50]))
        for smooth in (False, True)
    ]
    assert values[0] < values[1]


@pytest.mark.parametrize("smooth", [False, True])
def test_an_empty_map_draws_nothing(smooth: bool) -> None:
    assert not np.asarray(painted(explanation(0 * RAW), (60, 60), smooth=smooth))[..., 3].any()


def test_the_photograph_can_be_seen_through_many_cells() -> None:
    raw = np.random.default_rng(0).random((56, 56)).astype(np.float32)
    assert (np.asarray(painted(explanation(raw), (1000, 1000)))[..., 3] == 0).mean() > 0.25
