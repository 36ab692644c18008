import numpy as np
import pytest

from skinlesion_cli.metrics.label_errors import find_label_errors

# Labels, and p(0), p(1), p(2). No image is labelled 2.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1])
PROBABILITIES = np.array(
    [
        [0.9, 0.1, 0.0],
        [0.8, 0.2, 0.0],
        [0.7, 0.3, 0.0],
        [0.2, 0.8, 0.0],
        [0.3, 0.7, 0.0],
        [0.4, 0.5, 0.1],
        [0.7, 0.3, 0.0],
    ]
)


def test_counts_thresholds_and_order_are_those_by_hand() -> None:
    found = find_label_errors(LABELS, PROBABILITIES)
    assert found.self_confidence == pytest.approx([0.9, 0.8, 0.7, 0.2, 0.7, 0.5, 0.3])
    # (0.9 + 0.8 + 0.7 + 0.2) / 4 and (0.7 + 0.5 + 0.3) / 3.
    assert found.thresholds[:2] == pytest.approx([0.65, 0.5])
    assert np.isnan(found.thresholds[2])
    # Every image reaches one threshold; the fourth and the last that of the other class.
    assert found.joint.tolist() == [[3, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert found.likely.tolist() == [False, False, False, True, False, False, True]
    # Row 0: 1 of 4, scaled to 4 images; row 1: 1 of 3, scaled to 3.
    assert found.estimated == pytest.approx(2)
    assert found.suggested.tolist() == [1, 1, 1, 1, 0, 0, 0]
    # By the probability of the label; the third and fifth are equal.
    assert found.order.tolist() == [3, 6, 5, 2, 4, 1, 0]


def test_an_image_that_reaches_no_threshold_is_not_counted() -> None:
    more = np.vstack([PROBABILITIES, [0.34, 0.36, 0.3]])
    found = find_label_errors(np.append(LABELS, 0), more)
    # The threshold of 0 falls to (2.6 + 0.34) / 5 = 0.588; 0.36 does not reach that of 1, 0.5.
    assert found.joint.tolist() == [[3, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert not found.likely[-1]
    # Row 0 is scaled to its 5 images: 1 / 4 of them.
    assert found.estimated == pytest.approx(5 / 4 + 1)


def test_flipped_labels_come_first() -> None:
    random = np.random.default_rng(0)
    true = random.integers(0, 5, 2000)
    logits = random.normal(0, 1, (2000, 5))
    logits[np.arange(2000), true] += 4
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    flipped = random.permutation(2000)[:100]
    labels = true.copy()
    labels[flipped] = (true[flipped] + random.integers(1, 5, 100)) % 5
    found = find_label_errors(labels, probabilities)
    assert np.isin(found.order[:100], flipped).mean() > 0.85
    assert 80 < found.estimated < 130
