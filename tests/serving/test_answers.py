"""An answer is the item of `predict --json`, and its pictures are those of the tool."""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli.api.explain import explain
from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.images import read_image
from skinlesion_cli.inference.ensemble import Ensemble
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.report.heatmaps.paint import painted
from skinlesion_cli.serving.answers import HEAT_SIDE, PICTURES, Answers
from tests.support.icc import profile_of


def _png(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text, validate=True))))


@pytest.fixture(scope="module")
def odd_picture(picture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph on its side, with another colour space."""
    path = tmp_path_factory.mktemp("odd") / "odd.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(picture) as image:
        image.resize((300, 200)).save(path, exif=exif, icc_profile=profile_of("Display P3"))
    return path


@pytest.mark.parametrize("flips", [False, True])
def test_an_answer_is_the_item_of_predict(answers: Answers, odd_picture: Path, flips: bool) -> None:
    (expected,) = answers.predictor.predict_many([odd_picture], flips=flips)
    found = replace(answers, flips=flips).answer(str(odd_picture), odd_picture.read_bytes())
    assert json.loads(json.dumps(found)) == expected.to_dict()
    assert found["distance"] is not None


def test_a_threshold_marks_the_uncertain(answers: Answers, picture: Path) -> None:
    content = picture.read_bytes()
    confidence = answers.answer("a", content)["confidence"]
    assert replace(answers, min_confidence=confidence).answer("a", content)["uncertain"] is False
    assert replace(answers, min_confidence=confidence + 1e-9).answer("a", content)["uncertain"] is True


def test_the_pictures_show_what_the_model_saw(answers: Answers, odd_picture: Path) -> None:
    found = answers.answer("odd.jpg", odd_picture.read_bytes(), PICTURES)
    (expected,) = explain(answers.predictor, odd_picture)
    image = read_image(odd_picture)
    whole = found["photograph"]
    assert (whole["width"], whole["height"]) == image.size == (200, 300)
    assert _png(whole["png"]).shape == (480, 320, 3)
    frame = found["frame"]
    seen = _png(frame.pop("png"))
    assert np.array_equal(seen.transpose(2, 0, 1), view(image, 64, answers.predictor.backend.resize))
    assert frame == vars(expected.frame)
    heat = found["heat_map"]
    assert np.array_equal(_png(heat["png"]), np.asarray(painted(expected, (HEAT_SIDE, HEAT_SIDE))))
    assert heat["class"] == expected.label == found["class"]
    assert (heat["layer"], tuple(heat["grid"]), heat["empty"]) == (expected.layer, expected.grid, False)


def test_an_ensemble_answers_with_one_map(answers: Answers, picture: Path) -> None:
    several = Answers(Ensemble([answers.predictor, answers.predictor]))
    found = several.answer("a", picture.read_bytes(), ["heat_map"])
    assert found["probabilities"] == pytest.approx(answers.answer("a", picture.read_bytes())["probabilities"])
    assert _png(found["heat_map"]["png"]).shape == (HEAT_SIDE, HEAT_SIDE, 4)


def test_another_prior_explains_the_class_that_it_answers(answers: Answers, picture: Path) -> None:
    first = answers.answer("a", picture.read_bytes())["class"]
    shares = {name: 0.001 if name == first else 1.0 for name in answers.predictor.classes}
    total = sum(shares.values())
    moved = answers.predictor.with_prior({name: share / total for name, share in shares.items()})
    found = Answers(moved).answer("a", picture.read_bytes(), ["heat_map"])
    assert found["class"] != first
    assert found["heat_map"]["class"] == found["class"]
    assert found["original_probabilities"].keys() == found["probabilities"].keys()


def test_an_export_without_maps_answers_and_says_why(exported: Path, picture: Path) -> None:
    answers = Answers(load_predictor(exported))
    found = answers.answer("a", picture.read_bytes(), ["frame", "heat_map"])
    expected = answers.predictor.predict(picture).to_dict()
    assert {name: found[name] for name in expected} == expected | {"image": "a"}
    assert found["heat_map"] == {"error": answers.no_heat_map}
    assert "export" in found["heat_map"]["error"]


def test_only_what_is_asked_for_is_drawn(
    answers: Answers, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Callable[..., None]:
        raise AssertionError

    monkeypatch.setattr("skinlesion_cli.serving.answers.framed_photograph", fail)
    monkeypatch.setattr("skinlesion_cli.serving.answers.painted", fail)
    assert "frame" in answers.answer("a", picture.read_bytes(), ["frame"])
