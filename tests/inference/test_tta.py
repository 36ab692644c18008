from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.inference.backend import Backend, Outputs
from skinlesion_cli.inference.prediction import Prediction
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.scoring import predict_and_evaluate
from skinlesion_cli.metrics.calibration import softmax


def test_the_prediction_is_the_mean_over_the_four_mirror_images(exported: Path, picture: Path) -> None:
    predictor = load_predictor(exported)
    pixels = view(read_image(picture), 64)[None]
    views = [pixels, pixels[..., ::-1], pixels[:, :, ::-1], pixels[:, :, ::-1, ::-1]]
    each = [predictor.backend.outputs(np.ascontiguousarray(view)) for view in views]
    (averaged,) = predictor.predict_many([picture], flips=True)
    assert isinstance(averaged, Prediction)
    probabilities = [softmax(one.logits, predictor.temperature)[0] for one in each]
    found = np.array(list(averaged.probabilities.values()))
    assert found == pytest.approx(sum(probabilities) / 4, abs=1e-12)
    assert np.abs(found - probabilities[0]).max() > 1e-5
    assert averaged.distance == predictor.predict(picture).distance is not None


class Counting:
    """A backend that counts the batches that it is given."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.batches = backend, 0
        self.img_size, self.resize = backend.img_size, backend.resize

    def outputs(self, images: np.ndarray) -> Outputs:
        self.batches += 1
        return self.backend.outputs(images)


def test_the_unflipped_view_is_not_predicted_again(exported: Path, data: Path) -> None:
    predictor = load_predictor(exported, batch_size=9)
    predictor.backend = counting = Counting(predictor.backend)
    predict_and_evaluate(predictor, read_split(data, "test"), flips=True)
    assert counting.batches == 4


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_evaluation_shows_the_difference(exported: Path, data: Path, temperature: float) -> None:
    predictor, split = load_predictor(exported), read_split(data, "test")
    predictor.checkpoint = replace(predictor.checkpoint, temperature=temperature)
    _, _, plain = predict_and_evaluate(predictor, split)
    predictions, _, document = predict_and_evaluate(predictor, split, flips=True)
    assert plain["tta"] is None
    difference = document["tta"]["differences"]["loss"]
    assert document["tta"]["views"] == 4
    assert difference["a"] == plain["loss"]
    assert difference["b"] == document["loss"] != plain["loss"]
    assert difference["difference"] == pytest.approx(document["loss"] - plain["loss"])
    assert difference["ci95"][0] <= difference["difference"] <= difference["ci95"][1]
    section = document["calibration"]
    # The mean of calibrated views is never called uncalibrated.
    stage, other = ("before", "after") if temperature == 1.0 else ("after", "before")
    assert section[stage]["nll"] == pytest.approx(document["loss"], rel=1e-9)
    assert section[other] is None
    assert section["temperature"] == (None if temperature == 1.0 else temperature)
    assert predictions.probabilities is not None
