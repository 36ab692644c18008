"""Whether the faster pipeline costs accuracy: the published PIL pipeline and the batched one, same seeds.

    python tests/benchmarks/accuracy.py DATA --init-weights FILE [--first-seed 0] [--seeds 3] [--epochs 4]

Both are trained by the same loop, from the same weights, with the same sampled images; only the loading and
augmentation of images differ. Prints the scores of each seed on DATA/test, their means, and the paired
differences.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pipelines import published_transform
from torch.utils.data import DataLoader, Dataset

from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.screening import Screening
from skinlesion_cli.data.splits import Split, read_split
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.scoring import predict_and_evaluate
from skinlesion_cli.training.run_folder import RunFolder
from skinlesion_cli.training.trainer import Trainer

UNCHANGED = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
"""Parameters with which `augment` changes nothing: no flip, no colour jitter, no rotation."""
FIGURES = ("weighted_f1", "macro_f1", "balanced_accuracy", "weighted_auc", "loss")


class PublishedImages(Dataset[Any]):
    """Images augmented by the published pipeline; the key of an item is a `Draw`, as in training."""

    def __init__(self, split: Split, side: int):
        self._paths, self._labels = split.paths, split.labels
        self._transform = published_transform(side)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, int, torch.Tensor]:
        index, seed = key
        torch.manual_seed(seed)
        pixels = np.array(self._transform(read_image(self._paths[index])))
        return torch.from_numpy(pixels).permute(2, 0, 1), self._labels[index], UNCHANGED


def scores(settings: Settings, *, published: bool) -> dict[str, float]:
    """Train once and score the test split."""
    splits = {name: read_split(settings.data_root, name) for name in ("train", "val", "test")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        folder.claim(resume=False, overwrite=False)
        trainer = Trainer(settings, Screening(splits, {}, []), folder)
        if published:
            images = PublishedImages(splits["train"], settings.img_size)
            trainer.loader = DataLoader(
                images, batch_sampler=trainer.draws, num_workers=2, persistent_workers=True
            )
        trainer.run()
        predictor = load_predictor(folder.best, batch_size=64)
        _, _, document = predict_and_evaluate(predictor, splits["test"])
    return {name: document[name] for name in FIGURES}


def mean_and_deviation(values: list[float]) -> str:
    """Mean and, of several values, standard deviation, as text."""
    deviation = f" (sd {statistics.stdev(values):.4f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def main() -> None:
    """Train with both pipelines for every seed, and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--init-weights", type=Path, required=True)
    parser.add_argument("--arch", default="tf_efficientnet_lite0")
    parser.add_argument("--img-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"published": [], "batched": []}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name, rows in found.items():
            settings = Settings(
                data_root=options.data,
                model_arch=options.arch,
                init_weights=options.init_weights,
                normalization="backbone",
                img_size=options.img_size,
                epochs=options.epochs,
                seed=seed,
                num_workers=2,
            )
            rows.append(scores(settings, published=name == "published"))
            print(seed, name, {key: round(value, 4) for key, value in rows[-1].items()}, flush=True)
    for figure in FIGURES:
        line = figure
        for name, rows in found.items():
            values = [row[figure] for row in rows]
            line += f"   {name} {mean_and_deviation(values)}"
        pairs = zip(found["batched"], found["published"], strict=True)
        print(f"{line}   difference {mean_and_deviation([new[figure] - old[figure] for new, old in pairs])}")


if __name__ == "__main__":
    main()
