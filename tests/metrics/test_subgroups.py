import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.classification import SUMMARY, score
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.subgroups import block_section, block_warnings
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
