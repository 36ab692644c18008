"""Speed of this package, compared with the published pipeline and with timm, in one run on one machine.

    python tests/benchmarks/speed.py [--images 600] [--test-images 1000] [--arch mobilevitv2_100] [--repeat 3]

The reference is the published pipeline: ImageFolder, PIL transforms, ToTensor and Normalize, float32 batches,
contiguous layout, AdamW. (Its autocast applies to CUDA only and does nothing on a CPU.) timm is measured with
its own loader and optimiser, in fp32 and contiguous layout. All images are synthetic JPEGs of 600 × 450. The
variants take turns, and each figure is the best of the repeats; every training measurement runs in a separate
process. `--compile` also measures the compiled model, which takes minutes to compile; `--only` selects parts.
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
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from pipelines import (
    BATCH,
    MEAN,
    SIDE,
    STD,
    WORKERS,
    draw_images,
    endless,
    published_loader,
    timm_loader,
    timm_optimizer,
)
from torch import nn

from skinlesion_cli.data.augment import augment, normalize
from skinlesion_cli.data.image_cache import open_cache
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.models.checkpoint import Checkpoint, plain_state, save_checkpoint
from skinlesion_cli.models.copies import without_copies
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.models.model_info import Preprocessing
from skinlesion_cli.training.sampler import WeightedDraws, training_loader

WARM_UP = 3
"""Untimed training steps at the start of each process."""


def images_per_second(process: Callable[[], int]) -> float:
    """Throughput of a function that processes images and returns their number."""
    begun = time.perf_counter()
    return process() / (time.perf_counter() - begun)


def count_images(loader: Iterable[Sequence[torch.Tensor]]) -> int:
    """Load one epoch; returns its number of images."""
    return sum(len(batch[1]) for batch in loader)


def loader_speeds(folder: Path, repeat: int) -> dict[str, float]:
    """Images per second that each loader delivers, without training."""
    speeds: dict[str, list[float]] = {}
    others = {"reference": published_loader(folder), "timm": timm_loader(folder)}
    split = read_split(folder, "train")
    for turn in range(repeat):
        for name, loader in others.items():
            speed = images_per_second(partial(count_images, loader))
            speeds.setdefault(name, []).append(speed)
        for kind in ("off", "ram", "disk"):
            with tempfile.TemporaryDirectory() as cache_folder:
                os.environ["XDG_CACHE_HOME"] = cache_folder
                cache, _ = open_cache(kind, split.paths, SIDE)
                draws = WeightedDraws(
                    split.labels, alpha=0.5, epoch_size_mult=1.5, batch_size=BATCH, seed=turn
                )
                loader = training_loader(
                    split,
                    draws,
                    img_size=SIDE,
                    workers=WORKERS,
                    pin_memory=False,
                    cache=cache,
                )
                for epoch, name in enumerate(("first epoch", "second epoch", "later epochs")):
                    draws.start_epoch(epoch)
                    speed = images_per_second(partial(count_images, loader))
                    speeds.setdefault(f"cache {kind}, {name}", []).append(speed)
                del loader
    return {name: max(values) for name, values in speeds.items()}


def train(
    batches: Iterable[Sequence[torch.Tensor]],
    logits_of: Callable[[Sequence[torch.Tensor]], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int,
) -> int:
    """Train for some steps; returns the number of images. The second item of a batch holds its labels."""
    done = 0
    for batch in itertools.islice(batches, steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits_of(batch), batch[1])
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        optimizer.step()
        done += len(batch[1])
    return done


def training_speeds(folder: Path, arch: str, steps: int, repeat: int, compiled: bool) -> dict[str, float]:
    """Images per second of training from files, including the loader; the variants take turns."""
    variants: dict[str, tuple[Callable[..., float], tuple[Any, ...]]] = {
        "reference, fp32": (reference_training, (folder, arch, steps, published_loader, adamw)),
        "timm, fp32": (reference_training, (folder, arch, steps, timm_loader, timm_optimizer)),
    }
    for precision in ("fp32", "bf16"):
        for compiling in (False, True) if compiled else (False,):
            name = f"skinlesion, {precision}{', compiled' if compiling else ''}"
            variants[name] = (package_training, (folder, arch, precision, steps, compiling))
    speeds: dict[str, list[float]] = {}
    for _ in range(repeat):
        for name, (training, arguments) in variants.items():
            speeds.setdefault(name, []).append(in_own_process(training, *arguments))
            print(f"{name}: {speeds[name][-1]:.2f}", flush=True)
    return {name: max(values) for name, values in speeds.items()}


def in_own_process(function: Callable[..., float], *arguments: Any) -> float:
    """Call a function in a fresh process, because an allocator keeps the memory of earlier work."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    """The published optimiser."""
    return torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.05)


def reference_training(
    folder: Path,
    arch: str,
    steps: int,
    make_loader: Callable[[Path], Any],
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
) -> float:
    """Images per second with another loader and optimiser, in float32 and contiguous layout."""
    model = create_model(arch, 2, SIDE)
    optimizer, batches = make_optimizer(model), endless(make_loader(folder))
    train(batches, lambda batch: model(batch[0]), optimizer, WARM_UP)
    return images_per_second(lambda: train(batches, lambda batch: model(batch[0]), optimizer, steps))


def package_training(folder: Path, arch: str, precision: str, steps: int, compiled: bool) -> float:
    """Images per second of this package's training step, cached in memory; prints the compile time."""
    split, runtime = read_split(folder, "train"), choose_runtime("cpu", precision, training=True)
    runtime.activate()
    model = without_copies(create_model(arch, 2, SIDE), runtime.device).to(memory_format=torch.channels_last)
    forward = torch.compile(model) if compiled else model
    adamw = torch.optim.AdamW(model.parameters(), fused=True)
    draws = WeightedDraws(split.labels, alpha=0.5, epoch_size_mult=1.5, batch_size=BATCH, seed=0)
    cache, _ = open_cache("ram", split.paths, SIDE)
    loader = training_loader(split, draws, img_size=SIDE, workers=WORKERS, pin_memory=False, cache=cache)

    def logits_of(batch: Sequence[torch.Tensor]) -> torch.Tensor:
        inputs = runtime.put(normalize(augment(batch[0], batch[2]), MEAN, STD))
        with runtime.autocast():
            logits: torch.Tensor = forward(inputs)
        return logits.float()

    batches = endless(loader)
    begun = time.perf_counter()
    train(batches, logits_of, adamw, WARM_UP)
    if compiled:
        print(f"compiling {arch}, {precision}: {time.perf_counter() - begun:.0f} s", flush=True)
    return images_per_second(lambda: train(batches, logits_of, adamw, steps))


REFERENCE_EVALUATION = """
import sys, torch
from torchvision import datasets, transforms
from skinlesion_cli.models.checkpoint import load_checkpoint
from pathlib import Path
transform = transforms.Compose([transforms.Resize(292), transforms.CenterCrop(256), transforms.ToTensor(),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
images = datasets.ImageFolder(sys.argv[2], transform)
model = load_checkpoint(Path(sys.argv[1])).build().eval()
with torch.no_grad():
    for batch, labels in torch.utils.data.DataLoader(images, 32, num_workers=2):
        model(batch).softmax(1)
"""


# Started from a small process, because a child's peak memory includes that of the parent it was forked from.
MEASURED = """
import resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def process_seconds(*command: object, repeat: int) -> tuple[float, float]:
    """Minimum wall time in seconds and peak resident memory in MB of a whole process."""
    taken = []
    for _ in range(repeat):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *map(str, command)], check=True, capture_output=True, text=True
        )
        taken.append([float(figure) for figure in done.stdout.split()])
    return min(seconds for seconds, _ in taken), max(memory for _, memory in taken)


def made_checkpoint(folder: Path, arch: str) -> Path:
    """A checkpoint with random weights, on which the time does not depend."""
    state, classes = plain_state(create_model(arch, 2, SIDE)), read_split(folder, "test").classes
    checkpoint = Checkpoint(
        arch=arch, classes=classes, preprocessing=Preprocessing(SIDE, MEAN, STD), state=state
    )
    save_checkpoint(folder / "model.pth", checkpoint)
    return folder / "model.pth"


PROGRAM = [sys.executable, "-m", "skinlesion_cli"]


def start_figures(folder: Path, arch: str, repeat: int) -> dict[str, tuple[float, float]]:
    """Seconds and peak MB of predicting one image, and of the imports alone, in turn."""
    image, checkpoint = next((folder / "test").rglob("*.jpg")), made_checkpoint(folder, arch)
    commands: dict[str, list[object]] = {
        "import torch, timm": [sys.executable, "-c", "import torch, timm"],
        "predict, .pth": [*PROGRAM, "predict", image, "--checkpoint", checkpoint],
    }
    # The first turn compiles the modules, and reads them from the disk.
    turns = [
        {name: process_seconds(*command, repeat=1) for name, command in commands.items()}
        for _ in range(1 + repeat)
    ]
    return {name: min(turn[name] for turn in turns[1:]) for name in commands}


def process_figures(folder: Path, arch: str, repeat: int) -> dict[str, tuple[float, float]]:
    """Seconds and peak MB of other whole commands."""
    checkpoint, onnx = made_checkpoint(folder, arch), folder / "model.onnx"
    subprocess.run(
        [*PROGRAM, "export", "--checkpoint", checkpoint, "--to", onnx], check=True, capture_output=True
    )
    image = next((folder / "test").rglob("*.jpg"))
    evaluate = [*PROGRAM, "evaluate", "--data", folder, "--out", folder / "scores", "--checkpoint"]
    return {
        "--help": process_seconds(*PROGRAM, "--help", repeat=repeat),
        "weights": process_seconds(*PROGRAM, "weights", repeat=repeat),
        "predict, .onnx": process_seconds(*PROGRAM, "predict", image, "--checkpoint", onnx, repeat=repeat),
        "evaluate, reference loop": process_seconds(
            sys.executable, "-c", REFERENCE_EVALUATION, checkpoint, folder / "test", repeat=1
        ),
        "evaluate, .pth": process_seconds(*evaluate, checkpoint, repeat=1),
        "evaluate, .pth, bf16": process_seconds(*evaluate, checkpoint, "--precision", "bf16", repeat=1),
        "evaluate, .onnx": process_seconds(*evaluate, onnx, repeat=1),
    }


def table(title: str, figures: dict[str, float], first: str, *, more_is_better: bool) -> None:
    """Print figures, and how many times better each is than the one named `first`."""
    print(f"\n{title}")
    for name, value in figures.items():
        ratio = value / figures[first] if more_is_better else figures[first] / value
        print(f"  {name:32} {value:8.2f}  {ratio:6.2f} x")


def show_processes(title: str, figures: dict[str, tuple[float, float]], first: str) -> None:
    """Print seconds as `table` does, and the peak memory."""
    table(
        f"{title}, s", {name: seconds for name, (seconds, _) in figures.items()}, first, more_is_better=False
    )
    print("peak memory, MB:", json.dumps({name: round(memory) for name, (_, memory) in figures.items()}))


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=600, help="training images")
    parser.add_argument("--arch", default="mobilevitv2_100")
    parser.add_argument("--steps", type=int, default=4, help="timed training steps of each variant")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--test-images", type=int, default=1000, help="images that `evaluate` scores")
    parser.add_argument("--compile", action="store_true", help="also measure the compiled model")
    parts = ["predict", "loader", "training", "processes"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw_images(folder, options.images, options.test_images)
        if "predict" in options.only:
            starts = start_figures(folder, options.arch, options.repeat)
            show_processes("predicting one image", starts, "import torch, timm")
        if "loader" in options.only:
            loaders = loader_speeds(folder, options.repeat)
            table("data loading only, images/s", loaders, "reference", more_is_better=True)
        if "training" in options.only:
            training = training_speeds(folder, options.arch, options.steps, options.repeat, options.compile)
            table(f"training {options.arch}, images/s", training, "reference, fp32", more_is_better=True)
        if "processes" in options.only:
            processes = process_figures(folder, options.arch, options.repeat)
            show_processes("whole processes", processes, "evaluate, reference loop")


if __name__ == "__main__":
    main()
