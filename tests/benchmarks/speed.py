"""How fast this tool is against the pipeline as it was published, in one run on one machine.

    python tests/benchmarks/speed.py [--images 600] [--arch mobilevitv2_100] [--repeat 3]

The reference: ImageFolder, PIL transforms, ToTensor and Normalize, float32 batches, contiguous layout, AdamW.
(Its autocast is for CUDA and does nothing on a CPU.) All images are drawn: JPEGs of 600 × 450. Each figure is
the best of the repeats, taken in turns.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, WeightedRandomSampler
from torchvision import datasets, transforms

from skinlesion_cli.core.augment import augment, normalize
from skinlesion_cli.core.folders import read_split
from skinlesion_cli.core.image_cache import open_cache
from skinlesion_cli.core.loading import WeightedDraws, training_loader
from skinlesion_cli.core.model import create_model
from skinlesion_cli.core.runtime import choose_runtime
from skinlesion_cli.data.synthetic import KINDS, draw_lesion

SIDE, BATCH, WORKERS = 256, 32, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def draw_images(folder: Path, count: int) -> None:
    """`count` drawn JPEGs of 600 × 450 in two classes, as train, val and test."""
    for name, number in (("train", count), ("val", 40), ("test", min(count, 200))):
        for index in range(number):
            target = folder / name / f"class {index % 2}"
            target.mkdir(parents=True, exist_ok=True)
            kind = list(KINDS)[index % len(KINDS)]
            image = draw_lesion(kind, index).resize((600, 450), Image.Resampling.BICUBIC)
            image.save(target / f"{index}.jpg", quality=90)


def reference_loader(folder: Path) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """The published training pipeline."""
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE, scale=(0.7, 1.0), ratio=(0.9, 1.1)),
            transforms.RandomHorizontalFlip(0.5),
            transforms.RandomVerticalFlip(0.2),
            transforms.ColorJitter(0.1, 0.1, 0.1, 0.05),
            transforms.RandomRotation(15),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    images = datasets.ImageFolder(str(folder / "train"), transform)
    draws = WeightedRandomSampler([1.0] * len(images), round(1.5 * len(images)))
    return DataLoader(images, BATCH, sampler=draws, num_workers=WORKERS, persistent_workers=True)


def images_per_second(batches: Callable[[], int]) -> float:
    """Speed of a function that works through images and returns their number."""
    begun = time.perf_counter()
    return batches() / (time.perf_counter() - begun)


def loader_speeds(folder: Path, repeat: int) -> dict[str, float]:
    """Images a second that arrive, nothing being done with them."""
    speeds: dict[str, list[float]] = {}
    reference = reference_loader(folder)
    split = read_split(folder, "train")
    for turn in range(repeat):
        speeds.setdefault("reference", []).append(
            images_per_second(lambda: sum(len(labels) for _, labels in reference))
        )
        for kind in ("off", "ram", "disk"):
            with tempfile.TemporaryDirectory() as cache_folder:
                os.environ["XDG_CACHE_HOME"] = cache_folder
                cache, _ = open_cache(kind, split.paths, SIDE)
                draws = WeightedDraws(
                    split.labels, alpha=0.5, epoch_size_mult=1.5, batch_size=BATCH, seed=turn
                )
                runtime = choose_runtime("cpu", "auto", training=True)
                loader = training_loader(
                    split,
                    draws,
                    img_size=SIDE,
                    workers=WORKERS,
                    pin_memory=False,
                    runtime=runtime,
                    cache=cache,
                )
                for epoch, name in enumerate(("first epoch", "second epoch", "later epochs")):
                    draws.epoch = epoch
                    speed = images_per_second(lambda loader=loader: sum(len(batch[1]) for batch in loader))
                    speeds.setdefault(f"cache {kind}, {name}", []).append(speed)
                del loader
    return {name: max(values) for name, values in speeds.items()}


def train(
    batches: Iterable[Sequence[torch.Tensor]],
    answer: Callable[[Sequence[torch.Tensor]], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int,
) -> int:
    """Take some steps: `answer` gives the logits of a batch, whose second part is its labels."""
    done = 0
    for batch in itertools.islice(batches, steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(answer(batch), batch[1]).backward()
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        optimizer.step()
        done += len(batch[1])
    return done


def training_speeds(folder: Path, arch: str, steps: int) -> dict[str, float]:
    """Images a second of training from files, the loader included."""
    published = create_model(arch, 2, SIDE)
    adamw = torch.optim.AdamW(published.parameters())
    loader = reference_loader(folder)
    speeds = {
        "reference, fp32": images_per_second(
            lambda: train(loader, lambda batch: published(batch[0]), adamw, steps)
        )
    }
    for precision in ("fp32", "bf16"):
        speeds[f"skinlesion, {precision}"] = own_training_speed(folder, arch, precision, steps)
    return speeds


def own_training_speed(folder: Path, arch: str, precision: str, steps: int) -> float:
    """Images a second of this tool's step, with the cache in memory."""
    split, runtime = read_split(folder, "train"), choose_runtime("cpu", precision, training=True)
    model = create_model(arch, 2, SIDE).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    adamw = torch.optim.AdamW(model.parameters(), fused=True)
    draws = WeightedDraws(split.labels, alpha=0.5, epoch_size_mult=1.5, batch_size=BATCH, seed=0)
    cache, _ = open_cache("ram", split.paths, SIDE)
    loader = training_loader(
        split, draws, img_size=SIDE, workers=WORKERS, pin_memory=False, runtime=runtime, cache=cache
    )

    def answer(batch: Sequence[torch.Tensor]) -> torch.Tensor:
        inputs = runtime.put(normalize(augment(batch[0], batch[2]), MEAN, STD))
        with runtime.autocast():
            logits: torch.Tensor = model(inputs)
        return logits.float()

    return images_per_second(lambda: train(loader, answer, adamw, steps))


REFERENCE_EVALUATION = """
import sys, torch
from torchvision import datasets, transforms
from skinlesion_cli.core.checkpoint import load_checkpoint
from pathlib import Path
transform = transforms.Compose([transforms.Resize(292), transforms.CenterCrop(256), transforms.ToTensor(),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
images = datasets.ImageFolder(sys.argv[2], transform)
model = load_checkpoint(Path(sys.argv[1])).build().eval()
with torch.no_grad():
    for batch, labels in torch.utils.data.DataLoader(images, 32, num_workers=2):
        model(batch).softmax(1)
"""


# A small parent: a child's memory is counted from the moment that it is a copy of its parent.
MEASURED = """
import resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def process_seconds(*command: str | Path, repeat: int) -> tuple[float, float]:
    """Least wall time and largest resident memory (MB) of a whole process."""
    taken = []
    for _ in range(repeat):
        told = subprocess.run(
            [sys.executable, "-c", MEASURED, *map(str, command)], check=True, capture_output=True, text=True
        )
        taken.append([float(figure) for figure in told.stdout.split()])
    return min(seconds for seconds, _ in taken), max(memory for _, memory in taken)


def process_figures(folder: Path, arch: str, repeat: int) -> dict[str, tuple[float, float]]:
    """Whole processes: seconds and MB."""
    run, onnx = folder / "run", folder / "model.onnx"
    program = [sys.executable, "-m", "skinlesion_cli"]
    tiny = ["--epochs", "1", "--epoch-size-mult", "0.05", "--no-pretrained", "--arch", arch]
    subprocess.run(
        [*program, "train", "--data", folder, "--out", run, *tiny], check=True, capture_output=True
    )
    checkpoint = run / "checkpoints" / "best_model.pth"
    subprocess.run(
        [*program, "export", "--checkpoint", checkpoint, "--to", onnx], check=True, capture_output=True
    )
    image = next((folder / "test").rglob("*.jpg"))
    evaluate = [*program, "evaluate", "--data", folder, "--out", folder / "scores", "--checkpoint"]
    return {
        "import torch, timm": process_seconds(sys.executable, "-c", "import torch, timm", repeat=repeat),
        "--help": process_seconds(*program, "--help", repeat=repeat),
        "weights": process_seconds(*program, "weights", repeat=repeat),
        "predict, .pth": process_seconds(
            *program, "predict", image, "--checkpoint", checkpoint, repeat=repeat
        ),
        "predict, .onnx": process_seconds(*program, "predict", image, "--checkpoint", onnx, repeat=repeat),
        "evaluate, reference loop": process_seconds(
            sys.executable, "-c", REFERENCE_EVALUATION, checkpoint, folder / "test", repeat=1
        ),
        "evaluate, .pth": process_seconds(*evaluate, checkpoint, repeat=1),
        "evaluate, .onnx": process_seconds(*evaluate, onnx, repeat=1),
    }


def table(title: str, figures: dict[str, float], first: str, *, more_is_better: bool) -> None:
    """Print figures with their ratio to the one named `first`."""
    print(f"\n{title}")
    for name, value in figures.items():
        ratio = value / figures[first] if more_is_better else figures[first] / value
        print(f"  {name:32} {value:8.2f}  {ratio:6.2f} x")


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=600, help="training images")
    parser.add_argument("--arch", default="mobilevitv2_100")
    parser.add_argument("--steps", type=int, default=4, help="training steps of each kind")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw_images(folder, options.images)
        loaders = loader_speeds(folder, options.repeat)
        table("loader alone, images/s", loaders, "reference", more_is_better=True)
        training = training_speeds(folder, options.arch, options.steps)
        table(f"training {options.arch}, images/s", training, "reference, fp32", more_is_better=True)
        processes = process_figures(folder, options.arch, options.repeat)
        seconds = {name: value for name, (value, _) in processes.items()}
        table("whole processes, s", seconds, "evaluate, reference loop", more_is_better=False)
        print("\nresident memory, MB")
        print(json.dumps({name: round(memory) for name, (_, memory) in processes.items()}, indent=1))


if __name__ == "__main__":
    main()
