"""Several training methods on the same images: each one's scores, and how it differs from the first.

A method has one prediction per image from cross-validation, or several from runs with different seeds. The
resamples of the bootstrap are the same for all methods, so that what they have in common cancels out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skinlesion_cli.metrics.arrays import Floats, bounds, number
from skinlesion_cli.metrics.bootstrap import Bootstrap, interval
from skinlesion_cli.metrics.classification import SUMMARY, Figures, score
from skinlesion_cli.metrics.predictions import Predictions


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of different images with the same classes, one after the other."""
    first = parts[0]
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return replace(
        first,
        images=tuple(image for part in parts for image in part.images),
        predicted=np.concatenate([part.predicted for part in parts]),
        true=np.concatenate([part.true for part in parts]),
        probabilities=np.concatenate(probabilities) if len(probabilities) == len(parts) else None,
        logits=None,
    )


def compare_methods(
    runs: Mapping[str, Sequence[Predictions]], bootstrap: Bootstrap, *, disjoint: bool
) -> dict[str, Any]:
    """The study's document: `methods`, and the `differences` of each but the first from the first.

    Args:
        runs: the predictions of every run of each method. The images of run i are the same for all methods.
        bootstrap: resamples the images: those of all runs in order if `disjoint`, otherwise those of a run.
        disjoint: whether the runs have different images, as in cross-validation. They are then pooled before
            they are scored; otherwise the score of a method is the mean over its runs.
    """
    tables = {name: [pooled(parts)] if disjoint else list(parts) for name, parts in runs.items()}
    values = {name: _means([score(table).summary for table in found]) for name, found in tables.items()}
    drawn = {name: _drawn(found, bootstrap) for name, found in tables.items()}
    alone = {name: [score(part).summary for part in parts] for name, parts in runs.items()}
    baseline = next(iter(runs))
    return {
        "n": bootstrap.n,
        "baseline": baseline,
        "methods": {
            name: {
                metric: {
                    "value": number(values[name][metric]),
                    "ci95": bounds(interval(drawn[name][metric])),
                    **_spread([one[metric] for one in alone[name]]),
                }
                for metric in SUMMARY
            }
            for name in runs
        },
        "differences": {
            name: {
                metric: {
                    "difference": number(values[name][metric] - values[baseline][metric]),
                    "ci95": bounds(interval(drawn[name][metric] - drawn[baseline][metric])),
                    **_spread(
                        [
                            one[metric] - other[metric]
                            for one, other in zip(alone[name], alone[baseline], strict=True)
                        ]
                    ),
                }
                for metric in SUMMARY
            }
            for name in list(runs)[1:]
        },
        "ci95_method": f"paired {bootstrap.method}",
        "resampling_unit": bootstrap.unit,
    }


def ensemble_section(
    members: Sequence[Predictions], ensemble: Predictions, bootstrap: Bootstrap
) -> dict[str, Any]:
    """The effect of an ensemble: `a` is the mean of the members' scores, `b` the score of the ensemble."""
    runs = {"members": members, "ensemble": [ensemble] * len(members)}
    document = compare_methods(runs, bootstrap, disjoint=False)
    found = document["differences"]["ensemble"]
    values = {name: document["methods"][name] for name in runs}
    differences = {
        metric: {
            "a": values["members"][metric]["value"],
            "b": values["ensemble"][metric]["value"],
            "difference": found[metric]["difference"],
            "ci95": found[metric]["ci95"],
        }
        for metric in SUMMARY
    }
    return {"members": len(members), "differences": differences}


def _drawn(tables: Sequence[Predictions], bootstrap: Bootstrap) -> dict[str, Floats]:
    drawn = (bootstrap.figures(Figures(table)) for table in tables)
    return _means([{metric: found[metric] for metric in SUMMARY} for found in drawn])


def _means(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {metric: np.mean([one[metric] for one in found], axis=0) for metric in SUMMARY}


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """The values of single runs, their mean and their standard deviation (n - 1)."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return {"mean": number(float(np.mean(values))), "sd": number(deviation), "runs": [*map(number, values)]}
