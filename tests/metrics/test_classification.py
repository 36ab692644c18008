import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from skinlesion_cli.metrics.classification import score, weighted_loss
from skinlesion_cli.metrics.predictions import Predictions
from tests.support import published
from tests.support.simulated import simulated


def test_the_published_matrix_gives_the_published_scores() -> None:
    true, predicted = published.expanded()
    scores = score(Predictions(("",) * 3674, published.CLASSES, predicted, true))
    assert scores.n == 3674
    assert np.array_equal(scores.confusion, published.CONFUSION)
    assert {name: round(scores.summary[name], 4) for name in published.SUMMARY} == published.SUMMARY
    for name, expected in published.PER_CLASS.items():
        one = scores.per_class[name]
        assert (one.precision, one.recall, one.f1) == pytest.approx(expected, abs=5e-5)


def test_every_figure_equals_scikit_learn() -> None:
    predictions = simulated()
    true, predicted, probabilities = predictions.true, predictions.predicted, predictions.probabilities
    scores = score(predictions)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(true, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(true, predicted),
        "weighted_f1": sklearn_metrics.f1_score(true, predicted, average="weighted"),
        "macro_f1": sklearn_metrics.f1_score(true, predicted, average="macro"),
        "weighted_auc": sklearn_metrics.roc_auc_score(
            true, probabilities, multi_class="ovr", average="weighted"
        ),
        "loss": sklearn_metrics.log_loss(true, probabilities),
    }
    assert scores.summary == pytest.approx(expected, abs=1e-12)
    per_class = sklearn_metrics.precision_recall_fscore_support(true, predicted)
    for label, one in enumerate(scores.per_class.values()):
        assert (one.precision, one.recall, one.f1, one.support) == pytest.approx(
            [values[label] for values in per_class]
        )
        problem = true == label, probabilities[:, label]
        assert one.auc == pytest.approx(sklearn_metrics.roc_auc_score(*problem), abs=1e-12)
        precision = sklearn_metrics.average_precision_score(*problem)
        assert one.average_precision == pytest.approx(precision, abs=1e-12)
        false_positive_rate, recall, _ = sklearn_metrics.roc_curve(*problem, drop_intermediate=False)
        assert one.sensitivity_at_90_specificity == recall[false_positive_rate <= 0.1].max()
        assert one.sensitivity_at_95_specificity == recall[false_positive_rate <= 0.05].max()
    assert np.array_equal(scores.confusion, sklearn_metrics.confusion_matrix(true, predicted))


def test_the_weighted_loss_is_torchs() -> None:
    predictions, weights = simulated(), np.array([0.2, 1.0, 3.0, 0.5, 0.3])
    reference = torch.nn.functional.nll_loss(
        torch.tensor(predictions.probabilities).log(),
        torch.tensor(predictions.true),
        weight=torch.tensor(weights),
    )
    assert weighted_loss(predictions, weights) == pytest.approx(float(reference), abs=1e-12)


def test_scores_are_those_of_the_isic_challenge() -> None:
    # The expected values are what isic-challenge-scoring 5.6.0 gives for these tables. It is not run here: it
    # needs a C compiler to install (zipfile-deflate64) and a pandas before 3.
    row, column = np.arange(150)[:, None], np.arange(4)
    true = (row**2 + row // 7) % 9 % 4
    raw = (37 * row + 11 * column**2 + 5 * row * column) % 23 + 1 + 9 * (column == true) + column / 10
    probabilities = (raw / raw.sum(axis=1, keepdims=True)).round(6)
    images = tuple(f"ISIC_{i:07d}" for i in range(150))
    classes = ("MEL", "NV", "BCC", "AKIEC")
    scores = score(Predictions(images, classes, probabilities.argmax(axis=1), true[:, 0], probabilities))
    assert scores.summary["balanced_accuracy"] == pytest.approx(0.515069345661451, abs=1e-12)
    expected = {
        "MEL": (0.846590909091, 0.724842959261),
        "NV": (0.847453416149, 0.730170707151),
        "BCC": (0.794055451128, 0.598639125591),
        "AKIEC": (0.800526189907, 0.586872737963),
    }
    for name, one in scores.per_class.items():
        assert (one.auc, one.average_precision) == pytest.approx(expected[name], abs=1e-11)


def test_a_decision_against_the_probabilities_is_scored_with_a_warning() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    predictions = Predictions(("1", "2"), ("a", "b"), np.array([1, 1]), np.array([0, 1]), probabilities)
    scores = score(predictions)
    assert scores.summary["accuracy"] == 0.5
    assert "not the most probable class in 1 rows" in " ".join(scores.warnings)
