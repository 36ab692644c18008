from pathlib import Path

import numpy as np
import pytest
import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.class_balance import effective_prior
from skinlesion_cli.metrics.prior import read_prior, retarget
from skinlesion_cli.training.losses import WeightedCrossEntropy
from skinlesion_cli.training.sampler import WeightedDraws

COUNTS = [3000, 300, 30]
# P(x | class) of a feature with four values.
GIVEN = np.array([[0.4, 0.3, 0.2, 0.1], [0.2, 0.3, 0.3, 0.2], [0.1, 0.2, 0.2, 0.5]])


def posterior(prior: np.ndarray) -> np.ndarray:
    """Bayes' rule: P(class | x), rows are values of x."""
    joint = (prior[:, None] * GIVEN).T
    return joint / joint.sum(axis=1, keepdims=True)


def learnt(alpha: float, beta: float, tau: float = 0.0) -> np.ndarray:
    """What a classifier learns from the real draws with the real loss: P(class | x)."""
    labels = np.repeat(np.arange(3), COUNTS)
    draws = WeightedDraws(labels.tolist(), alpha=alpha, epoch_size_mult=100.0, batch_size=1000, seed=0)
    drawn = labels[draws.indices]
    generator = np.random.default_rng(1)
    features = np.array(
        [generator.choice(4, size=(drawn == one).sum(), p=GIVEN[one]) for one in range(3)], dtype=object
    )
    order = np.argsort(drawn, kind="stable")
    x, y = torch.tensor(np.concatenate(list(features)).astype(np.int64)), torch.tensor(drawn[order])
    loss = WeightedCrossEntropy(COUNTS, beta, torch.device("cpu"), alpha=alpha, logit_adjustment=tau)
    table = torch.zeros(4, 3, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(table[x], y)
        value.backward()
        return value

    optimizer.step(closure)
    return table.detach().softmax(dim=1).numpy().astype(np.float64)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.5, 0.999), (0.0, 0.99)])
def test_training_reaches_the_effective_prior_and_another_prior_brings_it_back(
    alpha: float, beta: float
) -> None:
    found, prior = learnt(alpha, beta), np.array(effective_prior(COUNTS, alpha, beta))
    assert np.abs(found - posterior(prior)).max() < 0.01
    uniform, data = np.full(3, 1 / 3), np.array(COUNTS) / sum(COUNTS)
    for wanted in (uniform, data):
        assert np.abs(retarget(found, prior, wanted) - posterior(wanted)).max() < 0.02
    # The test can fail: the data's own prior is not what weighted training answers for.
    if beta:
        assert np.abs(found - posterior(data)).max() > 0.2


def test_an_adjusted_loss_trains_for_a_power_of_the_prior() -> None:
    prior = np.array(effective_prior(COUNTS, 1.0, 0.0))
    for tau in (0.5, 1.0):
        wanted = prior ** (1 - tau)
        assert np.abs(learnt(1.0, 0.0, tau) - posterior(wanted / wanted.sum())).max() < 0.02


def test_a_prior_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "clinic.csv"
    path.write_text("class,share\nb,30\na,70\n", encoding="utf-8")
    assert read_prior(path, ["a", "b"]).tolist() == [0.7, 0.3]
    assert read_prior("uniform", ["a", "b", "c", "d"]).tolist() == [0.25] * 4
    assert read_prior({"a": 0, "b": 2}, ["a", "b"]).tolist() == [0.0, 1.0]
    for text, fault in {
        "class,share\na,1\n": "has no share of 'b'; give 0",
        "class,share\na,1\nb,1\nbb,1\n": "the model has no class 'bb'",
        "class,share\na,1\na,1\nb,1\n": "is a duplicate",
        "class,share\na,-1\nb,1\n": "not a number of at least 0",
        "class,share\na,nan\nb,1\n": "not a number of at least 0",
        "class,share\na,0\nb,0\n": "all shares are 0",
        "name,share\na,1\n": "needs the columns class,share",
    }.items():
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=fault):
            read_prior(path, ["a", "b"])


def test_a_class_that_does_not_occur_is_never_predicted() -> None:
    wanted = np.array([0.0, 0.5, 0.5])
    found = retarget(np.array([[1.0, 0.0, 0.0], [0.8, 0.1, 0.1]]), np.full(3, 1 / 3), wanted)
    assert found.tolist() == [[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]
