from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from skinlesion_cli.data.framing import seen_frame
from skinlesion_cli.report.heatmaps.sheet import CHARACTERS, Sheets, captions
from skinlesion_cli.saliency.explanation import Explanation
from tests.support.known_location import DARK, panels_of


def test_a_full_sheet_is_written_and_the_next_begun(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 40), DARK)
    heat = np.zeros((32, 32), np.float32)
    one = Explanation(image, seen_frame(image.size, 32), heat, (2, 2), "layer", "a $ class", 0.5)
    first, second = tmp_path / "sheet.png", tmp_path / "sheet-2.png"
    sheets = Sheets([first, second], alpha=0)
    held = [sheets.add(f"{number}.png", [one, one]) for number in range(26)]
    assert held == [first] * 24 + [second] * 2
    assert not second.exists()
    sheets.end()
    assert sheets.written == [first, second]
    # Each photograph stands beside its map.
    with Image.open(second) as written:
        assert len(panels_of(written)) == 2 * 4
    with Image.open(first) as written:
        assert len(panels_of(written)) == 8


def test_captions_are_folded_and_keep_the_end_of_a_long_name() -> None:
    image = Image.new("RGB", (40, 40), DARK)
    heat = np.ones((32, 32), np.float32)
    one = Explanation(
        image, seen_frame(image.size, 32), heat, (2, 2), "x", "Melanoma", 0.5, predicted="Nevus"
    )
    assert captions("a.jpg", one) == (["a.jpg"], ["Melanoma, 50.0%"])
    assert captions("a.jpg", one, "Melanoma")[0] == ["a.jpg", "true class: Melanoma"]
    assert captions("a.jpg", one, "Melanoma")[1] == ["Melanoma, 50.0%", "predicted Nevus, wrong"]
    assert captions("a.jpg", one, "Nevus")[1] == ["Melanoma, 50.0%", "predicted Nevus, right"]
    assert captions("a.jpg", replace(one, predicted="Melanoma"), "Melanoma")[1][1] == "prediction right"
    assert captions("a.jpg", replace(one, heat=0 * heat))[1][1] == "empty: no positive evidence"
    lines = captions("x" * 190 + "-7.jpg", replace(one, label="Benign keratosis-like lesions, irritated"))
    assert max(map(len, lines[0] + lines[1])) <= CHARACTERS
    assert lines[0][0][0] == "…"
    assert lines[0][-1].endswith("-7.jpg")
    assert lines[1] == ["Benign keratosis-like lesions,", "irritated, 50.0%"]
    assert captions("a\nb.jpg", one)[0] == [r"a\nb.jpg"]


def test_the_maps_fill_the_sheet(tmp_path: Path) -> None:
    # Text that is no part of the layout takes no room from the maps: a caption of one long line left dots.
    image = Image.new("RGB", (40, 30), DARK)
    heat = np.zeros((32, 32), np.float32)
    label = "Benign keratosis-like lesions of $ kinds"
    one = Explanation(image, seen_frame(image.size, 32), heat, (2, 2), "layer", label, 0.5)
    sheets = Sheets([tmp_path / "sheet.png"], alpha=0)
    for number in range(20):
        sheets.add(f"a photograph with a long name, number {number}.jpg", [one])
    sheets.end()
    with Image.open(tmp_path / "sheet.png") as written:
        panels = panels_of(written)
        assert len(panels) == 8
        assert sum(right - left for left, _, right, _ in panels) > 0.8 * written.width


def test_the_colours_of_the_maps_are_those_of_the_bar(tmp_path: Path) -> None:
    image = Image.new("RGB", (200, 150), DARK)
    raw = np.arange(16, dtype=np.float32).reshape(4, 4)
    heat = np.kron(raw, np.ones((8, 8), np.float32)) / 15
    one = Explanation(image, seen_frame(image.size, 32), heat, (4, 4), "layer", "x", 0.5, raw=raw)
    sheets = Sheets([tmp_path / "sheet.png"])
    sheets.add("a.jpg", [one])
    sheets.end()
    with Image.open(tmp_path / "sheet.png") as written:
        pixels = np.asarray(written.convert("RGB"))
        _, (left, top, right, bottom) = panels_of(written)
    found = {tuple(colour) for colour in pixels[top:bottom, left:right].reshape(-1, 3).tolist()}
    bar = {tuple(colour) for colour in pixels[bottom:].reshape(-1, 3).tolist()}
    drawn = found - {DARK, (0, 0, 0), (255, 255, 255)}
    assert len(drawn & bar) == 10
    assert drawn <= bar
