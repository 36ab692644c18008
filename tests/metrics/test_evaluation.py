import dataclasses
import json
import math

import numpy as np
import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.metrics.classification import PER_CLASS, SUMMARY, score
from skinlesion_cli.metrics.evaluation import evaluate
from skinlesion_cli.metrics.predictions import Predictions
from tests.support.simulated import simulated


def test_every_figure_has_an_interval_around_it() -> None:
    predictions = simulated(n=200, classes=3)
    scores, document = evaluate(predictions, "test")
    json.dumps(document, allow_nan=False)
    assert set(document["ci95"]) == set(SUMMARY)
    for name, one in document["per_class"].items():
        assert set(one) == {*PER_CLASS, "support", "predicted", "ci95", "exact_n"}
        assert set(one["ci95"]) == set(PER_CLASS)
        assert one["support"] == scores.per_class[name].support
        for figure, (low, high) in one["ci95"].items():
            assert low < one[figure] < high or one[figure] == high == 1.0, (name, figure)
    assert document["malignant"] is None
    assert document["blocks"] is None
    assert document["warnings"] == []
    assert document["ci95_method"] == "percentile bootstrap, 2000 resamples of images"


def test_groups_and_sources_reach_every_section() -> None:
    once = simulated(n=60, classes=3)
    named = Predictions(once.images, ("MEL", "NV", "DF"), once.predicted, once.true, once.probabilities)
    predictions = named.take([*range(60)] * 3)
    groups, sources = [f"L{i}" for i in range(60)] * 3, [f"source {i % 2}" for i in range(60)] * 3
    _, plain = evaluate(predictions, sources=sources)
    _, grouped = evaluate(predictions, groups=groups, sources=sources)
    assert grouped["ci95_method"] == "percentile bootstrap, 2000 resamples of groups"
    assert list(grouped["blocks"]) == ["source 0", "source 1"]

    def width(bounds: list[float]) -> float:
        return bounds[1] - bounds[0]

    for where in (
        lambda document: document["ci95"]["accuracy"],
        lambda document: document["per_class"]["NV"]["ci95"]["average_precision"],
        lambda document: document["malignant"]["ci95"]["auc"],
        lambda document: document["malignant"]["operating_points"][0]["ci95"]["specificity"],
        lambda document: document["blocks"]["source 1"]["ci95"]["accuracy"],
    ):
        assert width(where(grouped)) > 1.4 * width(where(plain))


def test_calibration_is_told_before_and_after_the_temperature() -> None:
    drawn = simulated(n=300, classes=3)
    raw = dataclasses.replace(drawn, logits=np.log(drawn.probabilities))
    calibrated = dataclasses.replace(raw, probabilities=softmax(raw.logits, 2.5), temperature=2.5)
    _, document = evaluate(calibrated)
    section = document["calibration"]
    assert section["temperature"] == 2.5
    assert section["before"]["nll"] == pytest.approx(score(raw).summary["loss"], rel=1e-9)
    assert section["after"]["nll"] == pytest.approx(document["loss"], rel=1e-9)
    assert section["before"]["nll"] != section["after"]["nll"]
    _, never = evaluate(raw)
    assert never["calibration"]["temperature"] is never["calibration"]["after"] is None


def test_a_threshold_from_validation_is_tried_on_the_split() -> None:
    predictions, validation = simulated(n=300, classes=3), simulated(n=200, classes=3, seed=1)
    _, document = evaluate(predictions, target_accuracy=0.8, validation=validation)
    target = document["selective"]["target"]
    top, right = (values(predictions) for values in (confidence_of, hits_of))
    answered = top >= target["threshold"]
    assert target["coverage"] == pytest.approx(answered.mean())
    assert target["accuracy_reached"] == pytest.approx(right[answered].mean())
    of_validation = confidence_of(validation) >= target["threshold"]
    assert hits_of(validation)[of_validation].mean() >= 0.8
    _, without = evaluate(predictions)
    assert without["selective"]["target"] is None
    assert without["selective"]["aurc"] == document["selective"]["aurc"]


def confidence_of(predictions: Predictions) -> np.ndarray:
    assert predictions.probabilities is not None
    return predictions.probabilities[np.arange(len(predictions)), predictions.predicted]


def hits_of(predictions: Predictions) -> np.ndarray:
    return predictions.predicted == predictions.true


def test_the_malignant_classes_can_be_named() -> None:
    predictions = simulated(n=50, classes=3)
    _, document = evaluate(predictions, malignant=["C", "a"])
    assert document["malignant"]["classes"] == ["a", "c"]
    with pytest.raises(InputError, match="no class 'z'"):
        evaluate(predictions, malignant=["z"])


def test_what_cannot_be_computed_is_null_with_a_warning() -> None:
    # Three classes; nothing is truly b, nothing is predicted c, and probabilities are not given.
    predictions = Predictions(("1", "2", "3"), ("a", "b", "c"), np.array([0, 1, 0]), np.array([0, 0, 2]))
    scores, document = evaluate(predictions)
    assert math.isnan(scores.per_class["b"].recall)
    assert document["per_class"]["b"]["recall"] is None
    assert document["per_class"]["c"]["precision"] is None
    assert (document["per_class"]["b"]["f1"], document["per_class"]["b"]["precision"]) == (None, None)
    # Of a and c, which have images: (1/2 + 0) / 2.
    assert document["macro_f1"] == pytest.approx(1 / 4)
    assert document["weighted_auc"] is None
    assert document["loss"] is None
    assert document["ci95"]["weighted_auc"] is None
    text = " ".join(document["warnings"])
    assert "no images of b" in text
    assert "means over the classes are over the other 2" in text
    assert "never predicted: c" in text
    assert "no probabilities" in text


def test_an_infinite_loss_is_null_and_not_clipped() -> None:
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0]])
    predictions = Predictions(("1", "2"), ("a", "b"), np.array([0, 0]), np.array([0, 1]), probabilities)
    _, document = evaluate(predictions)
    assert document["loss"] is None
    assert "1 images give their true class the probability 0" in " ".join(document["warnings"])


def test_a_single_class_has_no_ranking() -> None:
    predictions = Predictions(("1", "2"), ("a",), np.array([0, 0]), np.array([0, 0]), np.ones((2, 1)))
    _, document = evaluate(predictions)
    assert (document["accuracy"], document["macro_f1"], document["loss"]) == (1.0, 1.0, 0.0)
    assert (document["weighted_auc"], document["per_class"]["a"]["average_precision"]) == (None, None)
    assert document["per_class"]["a"]["ci95"]["auc"] is None
    assert "all images are of a: AUC and similar metrics are undefined" in document["warnings"]


def test_probabilities_that_do_not_sum_to_one_still_rank() -> None:
    whole = simulated(n=80, classes=3)
    halves = Predictions(whole.images, whole.classes, whole.predicted, whole.true, whole.probabilities / 2)
    _, document = evaluate(halves)
    assert (document["loss"], document["ci95"]["loss"]) == (None, None)
    assert document["weighted_auc"] == pytest.approx(score(whole).summary["weighted_auc"])
    assert "the probabilities of some images do not sum to 1" in " ".join(document["warnings"])
