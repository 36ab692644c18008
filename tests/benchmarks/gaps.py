"""How often the interval of a gap between subgroups contains the true gap, and finds one that was planted.

    python -m tests.benchmarks.gaps [--simulations 1000] [--resamples 1000] [--only NAME]

Each simulation draws the images of some subgroups. A planted gap of 0.2 takes 0.2 from every true score of
one of them: its recalls, and the sensitivity and specificity that follow. A gap is found if its interval
excludes 0. Grouped images come in lesions of three that share most of their noise. The coverage of an exact
95% interval is within 1.4 points of 95% for 1,000 simulations.
"""

import argparse
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from skinlesion_cli.metrics.bins import partition
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.subgroups import METRICS, Calls, subgroup_sections

CLASSES = ("malignant", "benign")
SHARED = 0.8
"""Share of the noise variance that is common to the images of a lesion."""


@dataclass(frozen=True)
class People:
    """Subgroups of people, and how well a classifier does for them; the last one is the worst."""

    sizes: tuple[int, ...]
    """Lesions of each subgroup; a third of them are malignant."""
    recall: float
    """Of both classes."""
    gap: float = 0.0
    """What is missing in the last subgroup."""
    images: int = 1
    """Per lesion."""

    def draw(self, random: np.random.Generator) -> tuple[Predictions, list[str], list[str]]:
        """Predictions, and the lesion and subgroup of each image."""
        lesions = np.repeat(np.arange(len(self.sizes)), self.sizes)
        true = np.concatenate([np.arange(size) % 3 != 0 for size in self.sizes]).astype(np.int64)
        recalls = np.full(len(self.sizes), self.recall)
        recalls[-1] -= self.gap
        limits = np.array([NormalDist().inv_cdf(one) for one in recalls])[lesions]
        shape = (len(lesions), self.images)
        shared = SHARED if self.images > 1 else 0.0
        noise = math.sqrt(shared) * random.normal(size=(len(lesions), 1))
        right = (noise + math.sqrt(1 - shared) * random.normal(size=shape) <= limits[:, None]).ravel()
        truth = np.repeat(true, self.images)
        images = tuple(map(str, range(len(truth))))
        predicted = np.where(right, truth, 1 - truth)
        names = [str(one) for one in np.repeat(np.arange(len(lesions)), self.images)]
        return (
            Predictions(images, CLASSES, predicted, truth),
            names,
            [f"g{i}" for i in np.repeat(lesions, self.images)],
        )

    def true_gaps(self, lesions: int = 300_000) -> dict[str, float]:
        """The true gap of each figure, from very many images."""
        if not self.gap:
            return dict.fromkeys(METRICS, 0.0)
        many = replace(self, sizes=(lesions,) * 2, images=1)
        return {name: one["gap"] for name, one in many.gaps(np.random.default_rng(10**6), 1).items()}

    def gaps(self, random: np.random.Generator, resamples: int) -> dict[str, dict]:
        """The `gaps` of one drawn set of images."""
        predictions, lesions, subgroup = self.draw(random)
        seed = int(random.integers(2**32))
        by_lesion = lesions if self.images > 1 else None
        bootstrap = Bootstrap(len(predictions), by_lesion, resamples=resamples, seed=seed)
        calls = Calls(predictions.true == 0, predictions.predicted == 0)
        _, gaps = subgroup_sections(predictions, {"sex": partition("sex", subgroup)}, calls, bootstrap)
        return gaps["sex"]


CASES = {
    "two subgroups of 300": People((300, 300), 0.8),
    "two of 300, gap 0.2": People((300, 300), 0.8, 0.2),
    "150 and 450, gap 0.2": People((450, 150), 0.8, 0.2),
    "five subgroups of 200": People((200,) * 5, 0.8),
    "five of 200, gap 0.2": People((200,) * 5, 0.8, 0.2),
    "five, 40 to 400": People((400, 300, 200, 100, 40), 0.8),
    "two of 150 × 3 images": People((150, 150), 0.8, images=3),
    "the same, gap 0.2": People((150, 150), 0.8, 0.2, images=3),
    "two of 30": People((30, 30), 0.8),
    "two of 60, recall 0.98": People((60, 60), 0.98),
}


def coverage(people: People, simulations: int, resamples: int) -> tuple[dict[str, float], dict[str, float]]:
    """The share of simulations whose interval contains the true gap; and of those that exclude 0."""
    truth = people.true_gaps()
    held: dict[str, list[bool]] = defaultdict(list)
    found: dict[str, list[bool]] = defaultdict(list)
    for seed in range(simulations):
        for name, one in people.gaps(np.random.default_rng(seed), resamples).items():
            if one["ci95"] is not None:
                low, high = one["ci95"]
                held[name].append(low <= truth[name] <= high)
                found[name].append(low > 0)
    return tuple({name: float(np.mean(values)) for name, values in each.items()} for each in (held, found))


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--only", choices=tuple(CASES))
    options = parser.parse_args()
    print(f"{'coverage (found)':26}" + "".join(f"{name:>20}" for name in METRICS), flush=True)
    for name in [options.only] if options.only else CASES:
        held, found = coverage(CASES[name], options.simulations, options.resamples)
        cells = (f"{held[one]:.1%} ({found[one]:.1%})" if one in held else "–" for one in METRICS)
        print(f"{name:26}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
