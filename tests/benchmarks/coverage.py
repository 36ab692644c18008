"""How often 95% intervals contain the true value, for simulated classifiers whose true scores are known.

    python -m tests.benchmarks.coverage [--simulations 1000] [--resamples 500] [--images 500] [--only rare]

A true score is computed from two million simulated images. Each simulation draws a small test set from the
same source, and counts whether its interval contains that score. The coverage of an exact interval is 95%,
within 1.4 points for 1,000 simulations. Grouped images come in groups of five that share the class and most
of their noise, as photographs of one lesion do.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np

from skinlesion_cli.metrics.bootstrap import Bootstrap, interval
from skinlesion_cli.metrics.calibration import (
    FIGURES,
    calibration_document,
    confidence_and_hits,
    reliability,
)
from skinlesion_cli.metrics.classification import SUMMARY, figures, score
from skinlesion_cli.metrics.exact import class_counts, intervals
from skinlesion_cli.metrics.paired import Pair, compare
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.selective import area_under_risk_coverage, risk_coverage, selective_document

CLASSES = ("a", "b", "c", "d")
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
MANY = 2_000_000

Intervals = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Source:
    """A distribution of images, and of a classifier's predictions for them."""

    signal: float = 1.5
    """Mean score of the true class; the noise has a standard deviation of 1."""
    sureness: float = 1.0
    """1 is calibrated; more is overconfident."""
    group_size: int = 1
    shared: float = 0.8
    """Share of the noise variance that is common to the images of a group."""

    def draw(self, n: int, random: np.random.Generator, own: float = 0.0) -> tuple[Predictions, list[str]]:
        """About n images and the group of each; a share `own` of the noise variance is drawn last."""
        groups = np.repeat(np.arange(math.ceil(n / self.group_size)), self.group_size)
        true = random.choice(len(CLASSES), size=groups.max() + 1, p=SHARES)[groups]
        shape = (len(groups), len(CLASSES))
        noise = random.normal(size=shape)
        if self.group_size > 1:
            common = random.normal(size=(groups.max() + 1, len(CLASSES)))[groups]
            noise = math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * noise
        if own:
            noise = math.sqrt(1 - own) * noise + math.sqrt(own) * random.normal(size=shape)
        return self._predictions(true, noise), [str(group) for group in groups]

    def _predictions(self, true: np.ndarray, noise: np.ndarray) -> Predictions:
        scores = noise + self.signal * np.eye(len(CLASSES))[true]
        # Bayes' rule for normal scores: the probabilities are exactly calibrated at a sureness of 1.
        logits = self.sureness * (self.signal * scores + np.log(SHARES))
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        images = tuple(map(str, range(len(true))))
        return Predictions(images, CLASSES, probabilities.argmax(axis=1), true, probabilities)


def coverage_of(
    truth: dict[str, float], simulations: int, intervals: Callable[[np.random.Generator], Intervals]
) -> dict[str, float]:
    """The share of simulations whose interval contains the true value, for each figure."""
    held: dict[str, list[bool]] = defaultdict(list)
    for seed in range(simulations):
        for name, (low, high) in intervals(np.random.default_rng(seed)).items():
            held[name].append(low <= truth[name.split(",")[0]] <= high)
    return {name: float(np.mean(found)) for name, found in held.items()}


def true_scores(source: Source, n: int = MANY) -> dict[str, float]:
    """The summary scores of very many images."""
    return score(source.draw(n, np.random.default_rng(10**6))[0]).summary


def scores_coverage(
    source: Source, truth: dict[str, float], n: int, simulations: int, resamples: int, *, by_group: bool
) -> dict[str, float]:
    """Coverage of the intervals of the summary scores."""

    def intervals(random: np.random.Generator) -> Intervals:
        predictions, groups = source.draw(n, random)
        seed = int(random.integers(2**32))
        bootstrap = Bootstrap(len(predictions), groups if by_group else None, resamples=resamples, seed=seed)
        drawn = bootstrap.figures(partial(figures, predictions))
        return {name: interval(drawn[name]) for name in SUMMARY}

    return coverage_of(truth, simulations, intervals)


def calibration_coverage(source: Source, n: int, simulations: int, resamples: int) -> dict[str, float]:
    """Coverage for the calibration figures, AURC, and the plain percentile interval of the ECE."""
    many, _ = source.draw(MANY, np.random.default_rng(10**6))
    found = calibration_document(many, Bootstrap(len(many), resamples=1))["before"]
    area = area_under_risk_coverage(*risk_coverage(*_confidence_and_hits(many)))

    def intervals(random: np.random.Generator) -> Intervals:
        predictions, _ = source.draw(n, random)
        seed = int(random.integers(2**32))
        bootstrap = Bootstrap(len(predictions), resamples=resamples, seed=seed)
        ci95: Intervals = calibration_document(predictions, bootstrap)["before"]["ci95"]
        ci95["ece, percentile"] = _percentile_of_error(predictions, bootstrap)
        ci95 |= selective_document(predictions, bootstrap)["ci95"]
        return ci95

    truth = {name: found[name] for name in FIGURES} | {"aurc": area}
    return coverage_of(truth, simulations, intervals)


def _confidence_and_hits(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    found = confidence_and_hits(predictions)
    assert found is not None
    return found


def _percentile_of_error(predictions: Predictions, bootstrap: Bootstrap) -> tuple[float, float]:
    confidence, hits = _confidence_and_hits(predictions)
    bins = [(confidence > one.low) & (confidence <= one.high) for one in reliability(confidence, hits)]
    gaps = np.stack(bins, axis=1) * (hits - confidence)[:, None]
    return interval(np.abs(bootstrap.means(gaps)).sum(axis=1))


def difference_coverage(
    n: int, simulations: int, resamples: int, many: int = MANY
) -> tuple[dict[str, float], dict[str, float]]:
    """Coverage for paired differences; and the width of their intervals relative to unpaired ones."""
    weak, strong = Source(signal=1.4), Source(signal=1.6)

    def draw(count: int, random: np.random.Generator) -> Pair:
        seed = int(random.integers(2**32))
        # The same seed gives both models the same images, and the second one additional noise.
        a, _ = weak.draw(count, np.random.default_rng(seed))
        b, _ = strong.draw(count, np.random.default_rng(seed), own=0.3)
        return Pair(a, b)

    very_many = draw(many, np.random.default_rng(10**6))
    scores = [score(one).summary for one in (very_many.a, very_many.b)]
    truth = {name: scores[1][name] - scores[0][name] for name in SUMMARY}
    widths: dict[str, list[float]] = defaultdict(list)

    def intervals(random: np.random.Generator) -> Intervals:
        pair = draw(n, random)
        seed = int(random.integers(2**32))
        found = compare(pair, Bootstrap(len(pair.a), resamples=resamples, seed=seed))["differences"]
        drawn = [
            Bootstrap(len(one), resamples=resamples, seed=i).figures(partial(figures, one))
            for i, one in enumerate((pair.a, pair.b))
        ]
        for name, one in found.items():
            low, high = interval(drawn[1][name] - drawn[0][name])
            widths[name].append((one["ci95"][1] - one["ci95"][0]) / (high - low))
        return {name: one["ci95"] for name, one in found.items()}

    coverage = coverage_of(truth, simulations, intervals)
    return coverage, {name: float(np.mean(values)) for name, values in widths.items()}


RARE = ("recall", "precision", "f1", "auc")


@dataclass(frozen=True)
class Rare:
    """A two-class source whose first class is one image in 20, with the given true recall."""

    recall: float
    group_size: int = 1
    shared: float = 0.8
    """Share of the noise variance that is common to the images of a group."""

    def draw(self, n: int, random: np.random.Generator) -> tuple[Predictions, list[str]]:
        """Predictions of n images of the rare class and 19 n of the common one, and the group of each."""
        groups = np.repeat(np.arange(20 * n // self.group_size), self.group_size)
        noise = random.normal(size=len(groups))
        if self.group_size > 1:
            common = random.normal(size=groups.max() + 1)[groups]
            noise = math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * noise
        true = (np.arange(len(groups)) >= n).astype(np.int64)
        # One image of the common class in 200 is predicted as the rare one.
        score_of_rare = noise + np.where(true == 0, NormalDist().inv_cdf(self.recall), -2.576)
        of_rare = 1 / (1 + np.exp(-score_of_rare))
        probabilities = np.column_stack([of_rare, 1 - of_rare])
        images = tuple(map(str, range(len(true))))
        predicted = probabilities.argmax(axis=1)
        return Predictions(images, ("rare", "common"), predicted, true, probabilities), list(map(str, groups))


def rare_coverage(source: Rare, n: int, simulations: int, resamples: int) -> dict[str, float]:
    """Coverage for the rare class, and that of the percentile intervals alone, for comparison.

    A simulation counts for the figures that it defines.
    """
    truth = vars(score(source.draw(100_000, np.random.default_rng(10**6))[0]).per_class["rare"])

    def intervals_of(random: np.random.Generator) -> Intervals:
        predictions, groups = source.draw(n, random)
        by_group = groups if source.group_size > 1 else None
        seed = int(random.integers(2**32))
        bootstrap = Bootstrap(len(predictions), by_group, resamples=resamples, seed=seed)
        drawn = bootstrap.figures(partial(figures, predictions))
        counts = class_counts(predictions, bootstrap)
        found = vars(score(predictions).per_class["rare"])
        made = intervals(
            {name: found[name] for name in RARE},
            {name: drawn[name][:, 0] for name in RARE},
            {name: counts[name][0] for name in RARE},
        )["ci95"]
        percentile = {f"{name}, percentile": interval(drawn[name][:, 0]) for name in RARE if made[name]}
        return {name: made[name] for name in RARE if made[name]} | percentile

    return coverage_of(truth, simulations, intervals_of)


def _print(title: str, columns: Sequence[str], rows: Sequence[dict[str, float]]) -> None:
    print(f"\n{title}\n{'':22}" + "".join(f"{name:>16}" for name in columns), flush=True)
    for name in rows[0]:
        print(f"{name:22}" + "".join(f"{row[name]:16.1%}" for row in rows), flush=True)


def main() -> None:
    """Print one table for each kind of score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--only", choices=("rare", "all"), default="all")
    options = parser.parse_args()
    sizes = (options.images, options.simulations, options.resamples)
    print(f"{options.images} images, {options.simulations} simulations, {options.resamples} resamples")

    for n, group_size in ((4, 1), (20, 1), (20, 5), (60, 5)):
        sources = [Rare(recall, group_size) for recall in (0.5, 0.8, 0.95, 0.99)]
        rows = [rare_coverage(source, n, options.simulations, options.resamples) for source in sources]
        title = f"A class of {n} images" + (f" in {n // group_size} groups" if group_size > 1 else "")
        _print(title, [f"recall {one.recall}" for one in sources], rows)
    if options.only == "rare":
        return

    single, grouped = Source(), Source(group_size=5)
    truths = {source: true_scores(source) for source in (single, grouped)}
    rows = [
        scores_coverage(single, truths[single], *sizes, by_group=False),
        scores_coverage(grouped, truths[grouped], *sizes, by_group=True),
        scores_coverage(grouped, truths[grouped], *sizes, by_group=False),
    ]
    _print("Scores", ("independent", "groups by group", "groups by image"), rows)
    rows = [calibration_coverage(Source(sureness=sure), *sizes) for sure in (1.0, 1.2, 1.5)]
    _print("Calibration", ("calibrated", "logits × 1.2", "logits × 1.5"), rows)
    _print("Paired differences", ("coverage", "width/unpaired"), difference_coverage(*sizes))


if __name__ == "__main__":
    main()
