from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from skinlesion_cli.core.gradcam import Explanation
from skinlesion_cli.core.images import centre_frame
from skinlesion_cli.report import overlay, plots


def test_the_map_lies_exactly_on_the_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is drawn by matplotlib; its axes tell where each image lies, in the photograph's pixels."""
    drawn: list[Figure] = []
    save = plots.save_figure
    monkeypatch.setattr(
        overlay, "save_figure", lambda figure, path: (drawn.append(figure), save(figure, path))
    )
    image = Image.new("RGB", (600, 450), "tan")
    frame = centre_frame(image.size, 256)
    heat = np.zeros((256, 256), np.float32)
    heat[:128] = 1
    explanation = Explanation(image, frame, heat, (8, 8), "stages.4", "a $ class", 0.5)
    overlay.draw_overlay([explanation], tmp_path / "heat.png", alpha=0.5)
    left, right = drawn[0].axes[:2]
    assert left.get_images()[0].get_extent() == [0, 600, 450, 0]
    assert right.get_images()[1].get_extent() == [frame.left, frame.right, frame.bottom, frame.top]
    assert left.get_xlim() == right.get_xlim() == (0, 600)
    assert left.get_ylim() == (450, 0)
    assert left.get_aspect() == right.get_aspect() == 1
    # Both panels, the frame in both, the map in the right one.
    assert [len(axes.patches) for axes in (left, right)] == [1, 1]


def test_figures_do_not_pile_up(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    plots.confusion_matrix(np.array([[3, 1], [0, 0]]), ["a", "b"], "Test", tmp_path / "c.png")
    assert plt.get_fignums() == []
