"""How often each out-of-distribution score warns of foreign pictures and of the test split.

    python -m tests.benchmarks.ood --data DIR --run RUN [--data DIR --run RUN ...] [--photographs FOLDER]

For each run of `skinlesion train` it fits every score to up to 2,000 training images of the run's data set,
sets its limit as `models/ood.py` does, and prints the share of test images and of pictures of each kind
(`tests/support/foreign.py`) that is beyond it. FOLDER holds photographs to cut: skimage/data of the wheel of
scikit-image 0.16.2. Formulas: Mahalanobis, Lee et al. 2018; nearest neighbours, Sun et al. 2022; energy, Liu
et al. 2020; ViM, Wang et al. 2022; the Gaussian of statistics is the one that is built in.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.covariance import LedoitWolf

from skinlesion_cli.data.eval_views import view, viewed_batches
from skinlesion_cli.data.splits import evenly, read_split
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.models.backbone import levels_of
from skinlesion_cli.models.checkpoint import load_checkpoint
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.models.ood import FALSE_ALARMS, IMAGES, PARTS, _gaussian
from tests.support.foreign import foreign_pictures

Array = np.ndarray
Seen = dict[str, Array]
"""Of n images: `head` (n, d), `logits` (n, classes), `statistics` (n, e), and `labels` (n,) of training."""
Score = Callable[[Seen], Array]
NEIGHBOURS = 5


def _energy_of(logits: Array) -> Array:
    most = logits.max(axis=1)
    return np.asarray(most + np.log(np.exp(logits - most[:, None]).sum(axis=1)))


def energy(_: Seen, __: Array, ___: Array) -> Score:
    """Minus the log-sum-exp of the logits."""
    return lambda seen: -_energy_of(seen["logits"])


def mahalanobis(train: Seen, _: Array, __: Array) -> Score:
    """To the nearest class mean, with one shrunk covariance for all classes."""
    means = np.stack([train["head"][train["labels"] == c].mean(axis=0) for c in np.unique(train["labels"])])
    index = np.searchsorted(np.unique(train["labels"]), train["labels"])
    root = np.linalg.cholesky(LedoitWolf().fit(train["head"] - means[index]).precision_)

    def score(seen: Seen) -> Array:
        points, centres = seen["head"] @ root, means @ root
        squared = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * points @ centres.T
        return np.sqrt(np.maximum(squared.min(axis=1), 0))

    return score


def _neighbours(train: Array, points: Array) -> Array:
    squared = (points**2).sum(axis=1)[:, None] + (train**2).sum(axis=1) - 2 * points @ train.T
    return np.sqrt(np.maximum(np.partition(squared, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1], 0))


def nearest(train: Seen, _: Array, __: Array) -> Score:
    """The distance to the fifth nearest of the normalised head features."""

    def unit(rows: Array) -> Array:
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))

    known = unit(train["head"])
    return lambda seen: _neighbours(known, unit(seen["head"]))


def vim(train: Seen, weight: Array, bias: Array) -> Score:
    """The part of the head features outside their principal space, as a virtual logit, minus the energy."""
    origin = -np.linalg.pinv(weight) @ bias
    centred = train["head"] - origin
    d = centred.shape[1]
    kept = min(512 if d > 1024 else d // 2, len(centred) // 2)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    rest = vectors[:, np.argsort(-values)[kept:]]

    def residual(seen: Seen) -> Array:
        return np.asarray(np.linalg.norm((seen["head"] - origin) @ rest, axis=1))

    alpha = train["logits"].max(axis=1).mean() / residual(train).mean()
    return lambda seen: alpha * residual(seen) - _energy_of(seen["logits"])


def gaussian(key: str) -> Callable[[Seen, Array, Array], Score]:
    """The built-in Gaussian, of these features."""

    def fit(train: Seen, _: Array, __: Array) -> Score:
        fitted = _gaussian(train[key], 0)
        assert fitted is not None
        return lambda seen: fitted.distances(seen[key])

    return fit


def nearest_statistics(train: Seen, _: Array, __: Array) -> Score:
    """The distance to the fifth nearest of the standardised statistics."""
    mean, scale = train["statistics"].mean(axis=0), train["statistics"].std(axis=0) + 1e-6
    known = (train["statistics"] - mean) / scale
    return lambda seen: _neighbours(known, (seen["statistics"] - mean) / scale)


SCORES = {
    "energy": energy,
    "Mahalanobis, head": mahalanobis,
    "Gaussian, head": gaussian("head"),
    "nearest, head": nearest,
    "ViM": vim,
    "nearest, statistics": nearest_statistics,
    "Gaussian, statistics": gaussian("statistics"),
}


def limit_of(
    fit: Callable[[Seen, Array, Array], Score], train: Seen, val: Seen, head: tuple[Array, Array]
) -> float:
    """As `fit_ood_detector` has it: a quantile of validation and cross-fitted training."""
    part = np.arange(len(train["labels"])) % PARTS
    found = [fit(train, *head)(val)]
    for held_out in range(PARTS):
        inside, outside = (
            {key: values[mask] for key, values in train.items()}
            for mask in (part != held_out, part == held_out)
        )
        found.append(fit(inside, *head)(outside))
    measured = np.sort(np.concatenate(found))
    return float(measured[-max(2, int(FALSE_ALARMS * (len(measured) + 1)))])


def measure(run: Path, data: Path, pictures: dict[str, list[Image.Image]]) -> None:
    """Print the table of one run."""
    checkpoint = load_checkpoint(run / "checkpoints" / "best_model.pth")
    runtime = choose_runtime("cpu", "fp32", training=False)
    preprocessing = checkpoint.preprocessing
    backend = TorchBackend(checkpoint.build(), preprocessing, runtime, frozen=True)
    levels = levels_of(backend.model, backend.img_size)

    def of_pixels(batches: list[Array]) -> Seen:
        parts = []
        for batch in map(torch.from_numpy, batches):
            (head, logits), (statistics, _) = backend.features(batch, 0), backend.features(batch, levels)
            parts.append([one.double().numpy() for one in (head, logits, statistics)])
        return dict(
            zip(("head", "logits", "statistics"), map(np.concatenate, zip(*parts, strict=True)), strict=True)
        )

    def of_split(name: str, most: int) -> Seen:
        split = read_split(data, name)
        chosen = evenly(range(len(split.paths)), most)
        batches = viewed_batches(
            [split.paths[row] for row in chosen],
            img_size=backend.img_size,
            resize=backend.resize,
            batch_size=64,
            workers=0,
        )
        return of_pixels([batch.images for batch in batches]) | {
            "labels": np.array(split.labels)[list(chosen)]
        }

    train, val, test = of_split("train", IMAGES), of_split("val", 10**6), of_split("test", 10**6)
    foreign = {
        kind: of_pixels([np.stack([view(one, backend.img_size, backend.resize) for one in those])])
        for kind, those in pictures.items()
    }
    linear = backend.model.get_classifier()  # type: ignore[operator]
    head = linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()
    print(
        f"\n{run}: {len(read_split(data, 'train').paths)} training and {len(val['labels'])} validation images"
    )
    print("| score | test | " + " | ".join(foreign) + " |\n|---|" + "---|" * (len(foreign) + 1))
    for name, fit in SCORES.items():
        limit, score = limit_of(fit, train, val, head), fit(train, *head)
        shares = [(score(seen) > limit).mean() for seen in (test, *foreign.values())]
        print(
            f"| {name} | {shares[0]:.1%} | " + " | ".join(f"{share:.0%}" for share in shares[1:]) + " |",
            flush=True,
        )


def main() -> None:
    """Parse the arguments, draw the pictures, and measure each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, action="append", required=True)
    parser.add_argument("--data", type=Path, action="append", required=True, help="of each run")
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    pictures = foreign_pictures(args.number, args.photographs, args.seed)
    for run, data in zip(args.run, args.data, strict=True):
        measure(run, data, pictures)


if __name__ == "__main__":
    main()
