"""Random predictions of a model that is right in the share that its probabilities say."""

import numpy as np

from skinlesion_cli.metrics.predictions import Predictions


def simulated(n: int = 600, classes: int = 5, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.4), size=n).round(2)  # ties on purpose
    probabilities = (probabilities + 0.001) / (probabilities + 0.001).sum(axis=1, keepdims=True)
    true = np.array([random.choice(classes, p=row) for row in probabilities])
    return Predictions(
        tuple(f"{i}.jpg" for i in range(n)),
        tuple("abcdefghijklmn"[:classes]),
        probabilities.argmax(axis=1),
        true,
        probabilities,
    )
