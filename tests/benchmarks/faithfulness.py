"""How faithful the maps of each Grad-CAM method are: deletion and insertion scores over a split.

    python -m tests.benchmarks.faithfulness CHECKPOINT DATA [--split test] [--limit 100]

Each map explains the predicted class. Prints the mean areas with 95% bootstrap intervals over the images, or
over whole lesions and patients if the manifest names them; the share of images for which a map beats the
random ones (lower in deletion, higher in insertion); and the mean rank correlation (Spearman) with the map of
the same class of a network with random weights (Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS
2018). It is near 0 if the map shows what the network has learned.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from skinlesion_cli.data.eval_views import view
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.manifest import origins_of
from skinlesion_cli.data.splits import evenly, read_split
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.metrics.bootstrap import Bootstrap, interval
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.saliency.cam_methods import METHODS
from skinlesion_cli.saliency.explanation import enlarged, probability_of
from skinlesion_cli.saliency.faithfulness import areas, random_areas, removal_order
from skinlesion_cli.saliency.gradcam import class_activation_maps
from skinlesion_cli.saliency.layers import default_layer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=100)
    chosen = parser.parse_args()

    predictor = load_predictor(chosen.checkpoint)
    backend, temperature = predictor.backend, predictor.temperature
    assert isinstance(backend, TorchBackend)
    description = predictor.checkpoint
    torch.manual_seed(0)
    untrained = create_model(description.arch, len(description.classes), backend.img_size).eval()
    untrained = untrained.to(backend.runtime.device)
    layer = default_layer(
        backend.model,
        backend.inputs(torch.zeros(1, 3, backend.img_size, backend.img_size, dtype=torch.uint8)),
    )
    split = read_split(chosen.data, chosen.split)
    files = evenly(split.files, chosen.limit)
    paths = [split.root / file for file in files]
    groups = origins_of(chosen.data, chosen.split, files).groups

    random: list[tuple[float, float]] = []
    areas_of: dict[str, list[tuple[float, float]]] = {name: [] for name in METHODS}
    correlations: dict[str, list[float]] = {name: [] for name in METHODS}
    for seed, path in enumerate(paths):
        pixels = view(read_image(path), backend.img_size)
        inputs = backend.inputs(torch.from_numpy(np.array(pixels))[None])
        for name in METHODS:
            predicted, _ = class_activation_maps(
                backend.model, inputs, layer, lambda logits: [int(logits.argmax())], name
            )
            ((target, map_),) = predicted.items()
            others, _ = class_activation_maps(untrained, inputs, layer, partial(only, target), name)
            other = others[target]
            grid, heat = tuple(map_.shape), enlarged(map_.float().cpu().numpy(), backend.img_size)
            order = removal_order(heat, grid, seed)
            areas_of[name].append(areas(probability_of(backend, target, temperature), pixels, order))
            if other.min() < other.max() and map_.min() < map_.max():
                flat = [one.cpu().numpy().ravel() for one in (map_, other)]
                correlations[name].append(spearmanr(*flat).statistic)
        random.append(random_areas(probability_of(backend, target, temperature), pixels, grid, seed=seed))

    model = f"{description.arch}, {backend.img_size} px, layer {layer} {grid}"
    print(f"{model}, {len(paths)} images of {chosen.split}")
    print("map | deletion (low is good) | insertion (high is good) | beats random: deletion | insertion | ρ")
    control = np.array(random)
    print(f"random | {with_interval(control[:, 0], groups)} | {with_interval(control[:, 1], groups)} | | |")
    for name, method in METHODS.items():
        own = np.array(areas_of[name])
        wins = [np.mean(own[:, 0] < control[:, 0]), np.mean(own[:, 1] > control[:, 1])]
        means = [with_interval(column, groups) for column in own.T]
        print(
            f"{method.title} | {means[0]} | {means[1]} | {wins[0]:.0%} | {wins[1]:.0%} | "
            f"{np.mean(correlations[name]):+.2f} ({len(correlations[name])} images)"
        )


def only(target: int, _: torch.Tensor) -> list[int]:
    """Choose one class, whatever the logits."""
    return [target]


def with_interval(values: np.ndarray, groups: Sequence[str] | None) -> str:
    low, high = interval(Bootstrap(len(values), groups).means(values[:, None])[:, 0])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
