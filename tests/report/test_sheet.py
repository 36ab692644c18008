from pathlib import Path

import numpy as np
from PIL import Image

from skinlesion_cli.data.images import centre_frame
from skinlesion_cli.report.heatmaps.sheet import CHARACTERS, Sheets, caption
from skinlesion_cli.saliency.gradcam import Explanation
from tests.support.known_location import DARK, panels_of


def test_a_full_sheet_is_written_and_the_next_begun(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 40), DARK)
    heat = np.zeros((32, 32), np.float32)
    one = Explanation(image, centre_frame(image.size, 32), heat, (2, 2), "layer", "a $ class", 0.5)
    first, second = tmp_path / "sheet.png", tmp_path / "sheet-2.png"
    sheets = Sheets([first, second], alpha=0)
    held = [sheets.add(f"{number}.png", [one, one]) for number in range(26)]
    assert held == [first] * 24 + [second] * 2
    assert not second.exists()
    sheets.end()
    assert sheets.written == [first, second]
    with Image.open(second) as written:
        assert len(panels_of(written)) == 4
    with Image.open(first) as written:
        assert len(panels_of(written)) == 8


def test_a_caption_is_wrapped_and_keeps_the_end_of_a_long_name() -> None:
    assert caption("a.jpg", "Melanoma", 0.5).splitlines() == ["a.jpg", "Melanoma, 50.0%"]
    lines = caption("x" * 90 + "-7.jpg", "Benign keratosis-like lesions", 1).splitlines()
    assert max(map(len, lines)) <= CHARACTERS
    assert lines[0][0] == "…"
    assert lines[1].endswith("-7.jpg")
    assert lines[2:] == ["Benign keratosis-like", "lesions, 100.0%"]
    assert caption("a\nb.jpg", "x", 1).splitlines() == [r"a\nb.jpg", "x, 100.0%"]


def test_the_maps_fill_the_sheet(tmp_path: Path) -> None:
    # Text that is no part of the layout takes no room from the maps: a caption of one long line left dots.
    image = Image.new("RGB", (40, 30), DARK)
    heat = np.zeros((32, 32), np.float32)
    label = "Benign keratosis-like lesions of $ kinds"
    one = Explanation(image, centre_frame(image.size, 32), heat, (2, 2), "layer", label, 0.5)
    sheets = Sheets([tmp_path / "sheet.png"], alpha=0)
    for number in range(20):
        sheets.add(f"a photograph with a long name, number {number}.jpg", [one])
    sheets.end()
    with Image.open(tmp_path / "sheet.png") as written:
        panels = panels_of(written)
        assert len(panels) == 8
        assert sum(right - left for left, _, right, _ in panels) > 0.8 * written.width
