import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from skinlesion_cli.core.bootstrap import summary_intervals
from skinlesion_cli.core.evaluation import evaluate
from skinlesion_cli.core.metrics import score, weighted_loss
from skinlesion_cli.core.predictions import Predictions
from tests import published


def simulated(n: int = 600, classes: int = 5, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.4), size=n).round(2)  # ties on purpose
    probabilities = (probabilities + 0.001) / (probabilities + 0.001).sum(axis=1, keepdims=True)
    true = np.array([random.choice(classes, p=row) for row in probabilities])
    return Predictions(
        tuple(f"{i}.jpg" for i in range(n)),
        tuple("abcdefgh"[:classes]),
        probabilities.argmax(axis=1),
        true,
        probabilities,
    )


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
        area = sklearn_metrics.roc_auc_score(true == label, probabilities[:, label])
        assert one.auc == pytest.approx(area, abs=1e-12)
    assert np.array_equal(scores.confusion, sklearn_metrics.confusion_matrix(true, predicted))


def test_the_weighted_loss_is_torchs() -> None:
    predictions, weights = simulated(), np.array([0.2, 1.0, 3.0, 0.5, 0.3])
    reference = torch.nn.functional.nll_loss(
        torch.tensor(predictions.probabilities).log(),
        torch.tensor(predictions.true),
        weight=torch.tensor(weights),
    )
    assert weighted_loss(predictions, weights) == pytest.approx(float(reference), abs=1e-12)


def test_what_cannot_be_computed_is_null_with_a_warning() -> None:
    # Three classes; nothing is truly b, nothing is predicted c, and probabilities are not given.
    predictions = Predictions(("1", "2", "3"), ("a", "b", "c"), np.array([0, 1, 0]), np.array([0, 0, 2]))
    scores, document = evaluate(predictions)
    assert math.isnan(scores.per_class["b"].recall)
    assert document["per_class"]["b"]["recall"] is None
    assert document["per_class"]["c"]["precision"] is None
    assert document["per_class"]["b"]["f1"] == 0
    assert document["weighted_auc"] is None
    assert document["loss"] is None
    assert document["ci95"]["weighted_auc"] is None
    text = " ".join(document["warnings"])
    assert "no images of b" in text
    assert "never predicted: c" in text
    assert "no probabilities" in text


def test_an_infinite_loss_is_null_and_not_clipped() -> None:
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0]])
    predictions = Predictions(("1", "2"), ("a", "b"), np.array([0, 0]), np.array([0, 1]), probabilities)
    _, document = evaluate(predictions)
    assert document["loss"] is None
    assert "1 images give their true class the probability 0" in " ".join(document["warnings"])


def test_a_decision_against_the_probabilities_is_scored_and_said() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    predictions = Predictions(("1", "2"), ("a", "b"), np.array([1, 1]), np.array([0, 1]), probabilities)
    scores = score(predictions)
    assert scores.summary["accuracy"] == 0.5
    assert "not the most probable class in 1 rows" in " ".join(scores.warnings)


def test_groups_widen_the_intervals_of_grouped_errors() -> None:
    # Every image stands four times: by image the interval is half as wide as by group.
    once = simulated(n=150, classes=3)
    rows = np.repeat(np.arange(150), 4)
    repeated = Predictions(
        tuple(map(str, rows)), once.classes, once.predicted[rows], once.true[rows], once.probabilities[rows]
    )

    def width(intervals: dict[str, tuple[float, float]]) -> float:
        low, high = intervals["accuracy"]
        return high - low

    by_group = summary_intervals(repeated, [str(row) for row in rows])
    assert width(by_group) == pytest.approx(width(summary_intervals(once)), rel=0.1)
    assert width(summary_intervals(repeated)) == pytest.approx(width(by_group) / 2, rel=0.1)


def test_intervals_equal_a_plain_loop_over_resamples() -> None:
    predictions = simulated(n=120, classes=3)
    random = np.random.default_rng(5)
    drawn: dict[str, list[float]] = {}
    for _ in range(400):
        rows = random.integers(120, size=120)
        sample = Predictions(
            predictions.images,
            predictions.classes,
            predictions.predicted[rows],
            predictions.true[rows],
            predictions.probabilities[rows],
        )
        for name, value in score(sample).summary.items():
            drawn.setdefault(name, []).append(value)
    intervals = summary_intervals(predictions, resamples=400, seed=5)
    for name, values in drawn.items():
        assert intervals[name] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-6), name
