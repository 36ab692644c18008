import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli.data.framing import seen_frame
from skinlesion_cli.report.heatmaps.overlay import draw_overlay, overlay
from skinlesion_cli.saliency.explanation import Explanation, explain_classes
from tests.support.fits import resize_of
from tests.support.known_location import bright_pixels, panels_of, picture_with_blob


def test_the_map_lies_exactly_on_the_frame() -> None:
    """The axes tell where each image lies, in the photograph's pixels."""
    image = Image.new("RGB", (600, 450), "tan")
    frame = seen_frame(image.size, 256)
    heat = np.zeros((256, 256), np.float32)
    heat[:128] = 1
    explanation = Explanation(image, frame, heat, (8, 8), "stages.4", "a $ class", 0.5, predicted="Melanoma")
    figure = overlay([explanation], alpha=0.5)
    left, right, bar = figure.axes
    assert left.get_images()[0].get_extent() == [0, 600, 450, 0]
    assert right.get_images()[1].get_extent() == [frame.left, frame.right, frame.bottom, frame.top]
    assert left.get_xlim() == right.get_xlim() == (0, 600)
    assert left.get_ylim() == (450, 0)
    assert left.get_aspect() == right.get_aspect() == 1
    # Both panels, the frame in both, the map in the right one.
    assert [len(axes.patches) for axes in (left, right)] == [1, 1]
    assert left.get_title() == "Photograph\ndashed: what the model saw"
    assert right.get_title() == "a \\$ class, probability 50.0%"
    named = overlay([explanation], name="a.jpg", true="Nevus").axes[0]
    assert named.get_title() == (
        "a.jpg\ntrue class: Nevus\npredicted Melanoma, wrong\ndashed: what the model saw"
    )
    assert bar.get_ylabel() == "Evidence for the class (Grad-CAM, relative)"
    assert bar.get_ylim() == (0, 1)
    empty = overlay([replace(explanation, heat=0 * heat)], alpha=0.5).axes[1]
    assert empty.get_title().endswith("\nempty: no positive evidence")


@pytest.mark.parametrize(("size", "at"), [((300, 180), (0.7, 0.3)), ((160, 280), (0.3, 0.62))])
@pytest.mark.parametrize(("top", "fit"), [(1, "crop"), (2, "crop"), (1, "pad"), (1, "squash")])
def test_the_hottest_pixels_of_the_picture_lie_on_the_lesion(
    size: tuple[int, int], at: tuple[float, float], top: int, fit: str, tmp_path: Path
) -> None:
    """Nothing of the drawing is trusted: only the photograph and the pixels of the written picture."""
    centre = (at[0] * size[0], at[1] * size[1])
    picture_with_blob(size, centre).save(tmp_path / "photo.png")
    # Where all of the photograph is in view, the lesion is a smaller part of it, and less probable.
    labels = [] if fit == "crop" else ["blob"]
    explanations = explain_classes(bright_pixels(fit=fit), tmp_path / "photo.png", top=top, labels=labels)
    assert explanations[0].label == "blob"
    frame, heat = explanations[0].frame, explanations[0].heat
    across, down = (frame.right - frame.left) / 8, (frame.bottom - frame.top) / 8
    cell = max(across, down)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    found = (frame.left + (column + 0.5) * across / 8, frame.top + (row + 0.5) * down / 8)
    assert np.hypot(found[0] - centre[0], found[1] - centre[1]) < cell

    # A map that covers all of the photograph would hide it, by which its place is found.
    draw_overlay(explanations, tmp_path / "heat.png", alpha=1 if fit == "crop" else 0)
    with Image.open(tmp_path / "heat.png") as written:
        panels = panels_of(written)
        pixels = np.asarray(written.convert("RGB")).astype(float)
    assert len(panels) == 1 + top
    left, upper, right, lower = panels[1]
    # The top of the colour map, (252, 255, 164), is like no other colour in the panel.
    hottest = np.abs(pixels[upper:lower, left:right] - (252, 255, 164)).sum(axis=2) < 60
    rows, columns = np.nonzero(hottest)
    assert len(rows) > 20
    drawn = (columns.mean() / (right - left) * size[0], rows.mean() / (lower - upper) * size[1])
    assert np.hypot(drawn[0] - centre[0], drawn[1] - centre[1]) < cell


def test_a_padded_photograph_is_drawn_without_its_border() -> None:
    image = Image.new("RGB", (600, 300), "tan")
    frame = seen_frame(image.size, 256, resize_of("pad"))
    explanation = Explanation(image, frame, np.ones((256, 256), np.float32), (8, 8), "stages.4", "x", 0.5)
    left, right, _ = overlay([explanation]).axes
    # The map covers the square, and the panel shows the photograph alone, with the frame on its edges.
    assert right.get_images()[1].get_extent() == [0, 600, 450, -150]
    assert (right.get_xlim(), right.get_ylim()) == ((0, 600), (300, 0))
    assert left.patches[0].get_bbox().bounds == (0, 0, 600, 300)


def test_long_names_are_wrapped_inside_the_picture(tmp_path: Path) -> None:
    picture_with_blob((300, 180), (150, 90)).save(tmp_path / "photo.png")
    measured = explain_classes(bright_pixels(), tmp_path / "photo.png", top=2, measured=True)
    name = "acral lentiginous melanoma of the sole, with or without ulceration, in situ or invasive"
    figure = overlay([replace(one, label=name) for one in measured], alpha=0.5)
    figure.draw_without_rendering()
    titles = [axes.title.get_window_extent() for axes in figure.axes[:3]]
    assert len(titles) == 3
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(titles))
    title = figure.axes[1].get_title()
    assert [part in title.replace("\n", " ") for part in (name, "probability", "insertion")] == [True] * 3
