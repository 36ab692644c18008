from pathlib import Path

import numpy as np
import pytest

from skinlesion_cli.core.faithfulness import area, areas, blurred, faithfulness, removal_order, replaced
from skinlesion_cli.core.gradcam import explain_classes
from tests.known_location import bright_pixels, picture_with_blob


def test_areas_worked_by_hand() -> None:
    # Four pixels, one bright; the answer is 1 while that one is as it was. Removed first, it is gone after
    # the first of four steps: (1/2 + 0 + 0 + 0 + 0) / 4. Inserted first, it is there from then on.
    view = np.zeros((3, 2, 2), np.uint8)
    view[:, 1, 0] = 200

    def is_bright(views: np.ndarray) -> np.ndarray:
        return (views[:, 0, 1, 0] == 200).astype(float)

    bright_first, bright_last = np.array([2, 0, 1, 3]), np.array([0, 1, 3, 2])
    assert areas(is_bright, view, bright_first, 4) == (0.125, 0.875)
    assert areas(is_bright, view, bright_last, 4) == (0.875, 0.125)
    assert area(np.array([1.0, 0.5, 0.5, 0.0])) == 0.5


def test_a_step_turns_the_next_pixels_of_the_order() -> None:
    start, end = np.zeros((3, 2, 3), np.uint8), np.full((3, 2, 3), 9, np.uint8)
    images = replaced(start, end, np.array([5, 0, 1, 2, 3, 4]), 3)
    assert [image[0].tolist() for image in images] == [
        [[0, 0, 0], [0, 0, 0]],
        [[9, 0, 0], [0, 0, 9]],
        [[9, 9, 9], [0, 0, 9]],
        [[9, 9, 9], [9, 9, 9]],
    ]


def test_the_hottest_pixel_goes_first_and_equal_ones_at_random() -> None:
    heat = np.zeros((32, 32), np.float32)
    heat[3, 4], heat[20, 7] = 1, 0.5
    order = removal_order(heat, (4, 4), 0)
    assert order[:2].tolist() == [3 * 32 + 4, 20 * 32 + 7]
    assert sorted(order.tolist()) == list(range(32 * 32))
    assert (order == removal_order(heat, (4, 4), 0)).all()
    assert (order != removal_order(heat, (4, 4), 1)).any()
    # Not row by row, which would favour the top; and in patches, as a map of 4 × 4 cells goes.
    rows, columns = order[2:202] // 32, order[2:202] % 32
    assert rows.max() > 16
    steps = np.abs(np.diff(rows)) + np.abs(np.diff(columns))
    assert np.median(steps) < 12


def test_the_blur_leaves_the_colours() -> None:
    view = np.zeros((3, 64, 64), np.uint8)
    view[0, ::2] = 200
    # The outermost row goes on beyond the edge, so the middle is looked at.
    assert np.abs(blurred(view)[0, 24:40].astype(int) - 100).max() < 12
    assert blurred(view)[1:].max() == 0


def test_the_true_map_beats_random_ones_and_the_wrong_map_does_not(tmp_path: Path) -> None:
    path = tmp_path / "blob.png"
    picture_with_blob((90, 70), (38, 28)).save(path)
    predictor = bright_pixels()
    (explanation,) = explain_classes(predictor, path, label="blob", measured=True)
    measured = explanation.faithfulness
    assert measured is not None
    assert explanation.confidence > 0.9
    assert measured.deletion < measured.random_deletion - 0.2
    assert measured.insertion > measured.random_insertion + 0.2

    from skinlesion_cli.core.gradcam import probability_of
    from skinlesion_cli.core.images import read_image
    from skinlesion_cli.core.views import view

    wrong = faithfulness(
        probability_of(predictor.backend, 1), view(read_image(path), 64), 1 - explanation.heat, (8, 8)
    )
    assert wrong.deletion > measured.random_deletion + 0.1
    assert wrong.insertion < measured.random_insertion - 0.1
    assert wrong.random_deletion == pytest.approx(measured.random_deletion)
