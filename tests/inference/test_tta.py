from pathlib import Path

import numpy as np
import pytest

from skinlesion_cli.data.splits import read_split
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.scoring import predict_and_evaluate
from skinlesion_cli.inference.tta import FlipAveraged

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8)


def test_the_answer_is_the_mean_over_the_four_mirror_images(exported: Path) -> None:
    backend = load_predictor(exported).backend
    views = [PIXELS, PIXELS[..., ::-1], PIXELS[:, :, ::-1], PIXELS[:, :, ::-1, ::-1]]
    each = [backend.answers(np.ascontiguousarray(view)) for view in views]
    averaged = FlipAveraged(backend).answers(PIXELS)
    expected = sum(one.probabilities for one in each) / 4
    assert averaged.probabilities == pytest.approx(expected, abs=1e-12)
    assert np.abs(averaged.probabilities - each[0].probabilities).max() > 1e-4
    assert averaged.distances is not None
    assert np.array_equal(averaged.distances, each[0].distances)


def test_evaluation_shows_the_difference(exported: Path, data: Path) -> None:
    predictor, split = load_predictor(exported), read_split(data, "test")
    _, _, plain = predict_and_evaluate(predictor, split)
    predictions, _, document = predict_and_evaluate(predictor, split, flips=True)
    assert plain["tta"] is None
    difference = document["tta"]["differences"]["loss"]
    assert document["tta"]["views"] == 4
    assert difference["a"] == plain["loss"]
    assert difference["b"] == document["loss"] != plain["loss"]
    assert difference["difference"] == pytest.approx(document["loss"] - plain["loss"])
    assert difference["ci95"][0] <= difference["difference"] <= difference["ci95"][1]
    assert document["calibration"]["after"] is None
    assert predictions.probabilities is not None
