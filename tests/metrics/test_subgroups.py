import dataclasses
import json
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.classification import SUMMARY, score
from skinlesion_cli.metrics.evaluation import evaluate
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.subgroups import METRICS, block_section, block_warnings
from tests.support.simulated import simulated


def test_figures_within_a_block_are_scikit_learns_on_its_images() -> None:
    predictions = simulated(n=400, classes=4)
    # Classes a and b come from one source, c and d from another; answers cross over.
    in_first = predictions.true < 2
    blocks = block_section(
        predictions, ["first" if one else "second" for one in in_first], Bootstrap(400, resamples=100)
    )
    assert list(blocks) == ["first", "second"]
    assert blocks["second"]["classes"] == ["c", "d"]
    for name, rows, labels in (("first", in_first, [0, 1]), ("second", ~in_first, [2, 3])):
        true, predicted = predictions.true[rows], predictions.predicted[rows]
        assert not set(predicted) <= set(labels)
        areas = [
            sklearn_metrics.roc_auc_score(true == label, predictions.probabilities[rows, label])
            for label in labels
        ]
        expected = {
            "accuracy": sklearn_metrics.accuracy_score(true, predicted),
            "balanced_accuracy": sklearn_metrics.recall_score(
                true, predicted, labels=labels, average="macro"
            ),
            "weighted_f1": sklearn_metrics.f1_score(true, predicted, labels=labels, average="weighted"),
            "macro_f1": sklearn_metrics.f1_score(true, predicted, labels=labels, average="macro"),
            "weighted_auc": np.average(areas, weights=[(true == label).sum() for label in labels]),
            "loss": sklearn_metrics.log_loss(true, predictions.probabilities[rows], labels=range(4)),
        }
        assert blocks[name]["n"] == len(true)
        assert {figure: blocks[name][figure] for figure in SUMMARY} == pytest.approx(expected, abs=1e-12)
        for figure, (low, high) in blocks[name]["ci95"].items():
            assert low < blocks[name][figure] < high


def test_images_without_a_source_are_in_no_block() -> None:
    predictions = simulated(n=20, classes=3)
    assert block_section(predictions, None, Bootstrap(20)) is None
    blocks = block_section(predictions, ["s"] * 12 + [""] * 8, Bootstrap(20, resamples=5))
    assert {name: block["n"] for name, block in blocks.items()} == {"s": 12}


def test_whole_groups_are_drawn_within_a_block() -> None:
    predictions = simulated(n=60, classes=3)
    sources, groups = ["s"] * 30 + ["t"] * 30, ["L1"] * 30 + ["L2"] * 30
    blocks = block_section(predictions, sources, Bootstrap(60, groups, resamples=20))
    assert list(blocks) == ["s", "t"]
    for block in blocks.values():
        # All resamples of one group are alike: what another group would give is unknown.
        low, high = block["ci95"]["accuracy"]
        assert (low < 0.05, high > 0.95, block["exact_n"]["accuracy"]) == (True, True, 1)


def test_what_a_block_leaves_undefined_is_null_with_a_warning() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    predictions = Predictions(
        tuple("1234"), ("a", "b"), probabilities.argmax(axis=1), np.array([0, 0, 0, 1]), probabilities
    )
    blocks = block_section(predictions, ["one", "one", "two", "two"], Bootstrap(4, resamples=10))
    assert (blocks["one"]["weighted_auc"], blocks["one"]["ci95"]["weighted_auc"]) == (None, None)
    assert blocks["two"]["weighted_auc"] == 0.0
    warnings = block_warnings(blocks, score(predictions).summary)
    assert warnings == ["among the images of one alone, undefined: weighted_auc"]
    assert block_warnings(None, {}) == []


def people(sizes: dict[str, int], images: int = 1, seed: int = 0) -> tuple[Predictions, list[str], list[str]]:
    """Random predictions of malignant and benign lesions, the lesion and the sex of each image."""
    n = sum(sizes.values())
    drawn = simulated(n=n, classes=3, seed=seed)
    named = dataclasses.replace(drawn, classes=("MEL", "NV", "DF"))
    sex = [name for name, size in sizes.items() for _ in range(size)]
    return named.take([*range(n)] * images), [f"L{row}" for row in range(n)] * images, sex * images


def test_a_subgroups_figures_are_scikit_learns_on_its_images() -> None:
    predictions, lesions, sex = people({"female": 120, "male": 90, "": 25}, images=2)
    validation, _, _ = people({"all": 150}, seed=1)
    _, document = evaluate(predictions, groups=lesions, by={"sex": sex}, validation=validation)
    found = document["subgroups"]["sex"]
    assert list(found) == ["female", "male", "unknown"]
    # The threshold is validation's: at least 90% of its malignant images are at or above it.
    threshold = document["malignant"]["operating_points"][-1]["threshold"]
    positives = np.sort(validation.probabilities[validation.true == 0, 0])
    assert threshold == positives[math.floor(0.1 * len(positives) + 1e-9)]
    for name, one in found.items():
        rows = np.array(sex) == ("" if name == "unknown" else name)
        true, predicted = predictions.true[rows], predictions.predicted[rows]
        called = predictions.probabilities[rows, 0] >= threshold
        expected = {
            "weighted_f1": sklearn_metrics.f1_score(true, predicted, average="weighted"),
            "macro_f1": sklearn_metrics.f1_score(true, predicted, average="macro"),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(true, predicted),
            "sensitivity": sklearn_metrics.recall_score(true == 0, called),
            "specificity": sklearn_metrics.recall_score(true != 0, ~called),
        }
        shown = {metric: one[metric] for metric in METRICS if one[metric] is not None}
        assert shown == pytest.approx({metric: expected[metric] for metric in shown})
        assert (one["n"], one["groups"]) == (rows.sum(), rows.sum() / 2)
        assert set(shown) == set(METRICS) or name == "unknown"
        for metric in shown:
            low, high = one["ci95"][metric]
            assert low < one[metric] < high
    gap = document["gaps"]["sex"]["weighted_f1"]
    best, worst = gap["between"]
    # Unknown is nobody in particular.
    assert {best, worst} == {"female", "male"}
    assert gap["gap"] == pytest.approx(found[best]["weighted_f1"] - found[worst]["weighted_f1"])
    assert gap["ci95"][0] < gap["gap"] < gap["ci95"][1]
    json.dumps(document, allow_nan=False)


def test_what_few_images_or_lesions_would_say_is_withheld_with_the_reason() -> None:
    drawn, _, sex = people({"few": 19, "enough": 60, "benign": 40})
    true = np.where((np.array(sex) == "benign") & (drawn.true == 0), 1, drawn.true)
    predictions = dataclasses.replace(drawn, true=true)
    _, document = evaluate(predictions, by={"sex": sex})
    few, benign = (document["subgroups"]["sex"][name] for name in ("few", "benign"))
    assert few["withheld"] == "19 images, fewer than 20"
    assert [few[metric] for metric in METRICS] == [few["ci95"][metric] for metric in METRICS] == [None] * 5
    assert benign["withheld"] == "sensitivity: 0 malignant images, fewer than 10"
    assert (benign["sensitivity"], benign["n_malignant"]) == (None, 0)
    assert benign["specificity"] is not None
    gaps = document["gaps"]["sex"]
    assert gaps["sensitivity"] == {"gap": None, "ci95": None, "between": None}
    assert set(gaps["specificity"]["between"]) == {"enough", "benign"}
    text = "no threshold from validation: sensitivity and specificity of subgroups are of the predicted class"
    assert text in document["warnings"]
    # 60 images of 15 lesions are no more than 15.
    pairs = [f"{name}{row // 4}" for row, name in enumerate(sex)]
    _, grouped = evaluate(predictions, groups=pairs, by={"sex": sex})
    assert grouped["subgroups"]["sex"]["enough"]["withheld"] == "16 groups, fewer than 20"


def test_without_malignant_classes_there_are_no_rates() -> None:
    drawn = simulated(n=90, classes=3)
    _, document = evaluate(drawn, by={"sex": ["f", "m"] * 45})
    female = document["subgroups"]["sex"]["f"]
    assert (female["sensitivity"], female["n_malignant"], female["withheld"]) == (None, None, None)
    assert "no malignant classes: subgroups have no sensitivity and specificity" in document["warnings"]
    assert (document["malignant"], document["gaps"]["sex"]["sensitivity"]["gap"]) == (None, None)


def test_two_perfect_subgroups_prove_no_gap_of_0() -> None:
    true = np.array([0, 1] * 40)
    predictions = Predictions(tuple(map(str, range(80))), ("MEL", "NV"), true, true)
    _, document = evaluate(predictions, by={"sex": ["f"] * 40 + ["m"] * 40})
    gap = document["gaps"]["sex"]["sensitivity"]
    low, high = gap["ci95"]
    # Of 20 hits among 20, either true sensitivity may be 0.832 (Clopper–Pearson), and the other 1.
    assert gap["gap"] == 0
    assert -0.2 < low < -0.1
    assert 0.1 < high < 0.2


def test_validation_without_a_malignant_class_is_refused() -> None:
    predictions, _, sex = people({"f": 40, "m": 40})
    other = simulated(n=40, classes=2)
    with pytest.raises(
        InputError, match="the predictions on validation have no class MEL; their classes are a, b"
    ):
        evaluate(predictions, by={"sex": sex}, validation=other)
