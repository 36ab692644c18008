"""How long `evaluate` takes to score predictions that are in memory.

    python -m tests.benchmarks.intervals [--images 3674] [--classes 14] [--repeats 3]

It computes the scores, 2,000 resamples of all figures, malignant against benign, and two subgroups. The peak
memory is that of the whole process.
"""

import argparse
import resource
import sys
import time

import numpy as np

from skinlesion_cli.metrics.bootstrap import RESAMPLES
from skinlesion_cli.metrics.evaluation import evaluate
from skinlesion_cli.metrics.predictions import Predictions
from tests.support import published
from tests.support.simulated import simulated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=3674)
    parser.add_argument("--classes", type=int, default=14, choices=range(2, 15))
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    drawn = simulated(chosen.images, chosen.classes)
    names = published.CLASSES[: chosen.classes]
    predictions = Predictions(drawn.images, names, drawn.predicted, drawn.true, drawn.probabilities)
    random = np.random.default_rng(0)
    groups = [f"L{lesion}" for lesion in random.integers(chosen.images * 2 // 3, size=chosen.images)]
    sources = [("a", "b")[source] for source in random.integers(2, size=chosen.images)]
    origins: list[tuple[str, list[str] | None, list[str] | None]] = [
        ("images", None, None),
        ("groups and two sources", groups, sources),
    ]
    for name, known_groups, known_sources in origins:
        seconds = []
        for _ in range(chosen.repeats):
            start = time.perf_counter()
            evaluate(predictions, groups=known_groups, sources=known_sources)
            seconds.append(time.perf_counter() - start)
        print(
            f"{chosen.images} images, {chosen.classes} classes, {RESAMPLES} resamples of {name}: "
            f"{min(seconds):.2f} s (slowest of {chosen.repeats}: {max(seconds):.2f} s)"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
