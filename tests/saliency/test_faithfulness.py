import zlib
from pathlib import Path

import numpy as np
import pytest

from skinlesion_cli.saliency.explanation import explain_classes
from skinlesion_cli.saliency.faithfulness import (
    Faithfulness,
    area,
    areas,
    blurred,
    faithfulness,
    removal_order,
    replaced,
    summarise,
)
from tests.support.known_location import bright_pixels, picture_with_blob


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
    (explanation,) = explain_classes(predictor, path, labels=["blob"], measured=True)
    measured = explanation.faithfulness
    assert measured is not None
    assert explanation.confidence > 0.9
    assert measured.deletion < measured.random_deletion - 0.2
    assert measured.insertion > measured.random_insertion + 0.2

    from skinlesion_cli.data.eval_views import view
    from skinlesion_cli.data.images import read_image
    from skinlesion_cli.saliency.explanation import probability_of

    probability, seen = probability_of(predictor.backend, 1), view(read_image(path), 64)
    wrong = faithfulness(probability, seen, 1 - explanation.heat, (8, 8), seed=zlib.crc32(seen.tobytes()))
    assert wrong.deletion > measured.random_deletion + 0.1
    assert wrong.insertion < measured.random_insertion - 0.1
    assert wrong.random_deletion == pytest.approx(measured.random_deletion)


def test_each_photograph_has_its_own_random_maps(tmp_path: Path) -> None:
    measured = []
    for number, centre in enumerate([(38, 28), (38, 28), (52, 42)]):
        path = tmp_path / f"{number}.png"
        picture_with_blob((90, 70), centre).save(path)
        measured += [one.faithfulness for one in explain_classes(bright_pixels(), path, measured=True)]
    assert measured[0] == measured[1]
    assert measured[0].random_deletion != measured[2].random_deletion


def test_means_over_maps() -> None:
    maps = [
        Faithfulness(0.1, 0.9, 0.3, 0.5),
        Faithfulness(0.3, 0.5, 0.3, 0.6),
        Faithfulness(0.5, 0.7, 0.6, 0.1),
        Faithfulness(0.7, 0.7, 0.2, 0.2),
    ]
    told = summarise(maps, ["a", "b", "c", "d"], "images")
    assert told["n"] == 4
    facts = {"n", "ci95_method", "resampling_unit"}
    assert {name: told[name]["mean"] for name in told if name not in facts} == pytest.approx(
        {
            **{"deletion": 0.4, "insertion": 0.7, "random_deletion": 0.35, "random_insertion": 0.35},
            # The second map is as good as random in deletion, which counts half, and the fourth is worse.
            **{"deletion_beats_random": 2.5 / 4, "insertion_beats_random": 3 / 4},
        }
    )
    low, high = told["deletion"]["ci95"]
    # Of four values drawn four times, the standard error is 0.2236 / 2.
    assert low == pytest.approx(0.4 - 1.96 * 0.1118, abs=0.04)
    assert high == pytest.approx(0.4 + 1.96 * 0.1118, abs=0.04)
    assert told["ci95_method"] == "percentile bootstrap, 2000 resamples of images"
    assert told["resampling_unit"] == "images"
    # Two groups give three means only: the first pair's, the second pair's and the middle.
    pairs = summarise(maps, ["a", "a", "b", "b"], "groups")["deletion"]
    assert (pairs["mean"], pairs["ci95"]) == (pytest.approx(0.4), pytest.approx([0.2, 0.6]))
    assert summarise(maps, ["a"] * 4, "groups")["deletion"]["ci95"] is None
