"""How fast this tool is against the pipeline as it was published, in one run on one machine.

    python tests/benchmarks/speed.py [--images 600] [--test-images 1000] [--arch mobilevitv2_100] [--repeat 3]

The reference: ImageFolder, PIL transforms, ToTensor and Normalize, float32 batches, contiguous layout, AdamW.
(Its autocast is for CUDA and does nothing on a CPU.) Beside it, timm's own loader and step, fp32, contiguous.
All images are drawn: JPEGs of 600 × 450. Each figure is the best of the repeats, taken in turns; a
training is a process of its own.
`--compile` adds the compiled step, after the minutes that compiling takes; `--only` leaves parts out.
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
    published_loader,
    timm_loader,
    timm_optimizer,
    without_end,
)
from torch import nn

from skinlesion_cli.data.augment import augment, normalize
from skinlesion_cli.data.image_cache import open_cache
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.models.checkpoint import Checkpoint, plain_state, save_checkpoint
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.models.model_info import Preprocessing
from skinlesion_cli.training.sampler import WeightedDraws, training_loader

WARM_UP = 3
"""Training steps of each process that are not timed."""


def images_per_second(batches: Callable[[], int]) -> float:
    """Speed of a function that works through images and returns their number."""
    begun = time.perf_counter()
    return batches() / (time.perf_counter() - begun)


def loader_speeds(folder: Path, repeat: int) -> dict[str, float]:
    """Images a second that arrive, nothing being done with them."""
    speeds: dict[str, list[float]] = {}
    others = {"reference": published_loader(folder), "timm": timm_loader(folder)}
    split = read_split(folder, "train")
    for turn in range(repeat):
        for name, loader in others.items():
            speed = images_per_second(lambda loader=loader: sum(len(labels) for _, labels in loader))
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


def training_speeds(folder: Path, arch: str, steps: int, repeat: int, compiled: bool) -> dict[str, float]:
    """Images a second of training from files, the loader included; each kind once, then all again."""
    kinds: dict[str, tuple[Callable[..., float], tuple[Any, ...]]] = {
        "reference, fp32": (others_training, (folder, arch, steps, published_loader, adamw)),
        "timm, fp32": (others_training, (folder, arch, steps, timm_loader, timm_optimizer)),
    }
    for precision in ("fp32", "bf16"):
        for how in (False, True) if compiled else (False,):
            name = f"skinlesion, {precision}{', compiled' if how else ''}"
            kinds[name] = (own_training, (folder, arch, precision, steps, how))
    speeds: dict[str, list[float]] = {}
    for _ in range(repeat):
        for name, (training, arguments) in kinds.items():
            speeds.setdefault(name, []).append(in_own_process(training, *arguments))
            print(f"{name}: {speeds[name][-1]:.2f}", flush=True)
    return {name: max(values) for name, values in speeds.items()}


def in_own_process(function: Callable[..., float], *arguments: Any) -> float:
    """What a function finds in a process that nothing was done in: allocators remember."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    """The published optimiser."""
    return torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.05)


def others_training(
    folder: Path,
    arch: str,
    steps: int,
    make_loader: Callable[[Path], Any],
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
) -> float:
    """Images a second by somebody else's loader and optimiser: float32, contiguous."""
    model = create_model(arch, 2, SIDE)
    optimizer, batches = make_optimizer(model), without_end(make_loader(folder))
    train(batches, lambda batch: model(batch[0]), optimizer, WARM_UP)
    return images_per_second(lambda: train(batches, lambda batch: model(batch[0]), optimizer, steps))


def own_training(folder: Path, arch: str, precision: str, steps: int, compiled: bool) -> float:
    """Images a second by this tool's step, with the cache in memory; the time to compile is printed."""
    split, runtime = read_split(folder, "train"), choose_runtime("cpu", precision, training=True)
    runtime.activate()
    model = create_model(arch, 2, SIDE).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = torch.compile(model) if compiled else model
    adamw = torch.optim.AdamW(model.parameters(), fused=True)
    draws = WeightedDraws(split.labels, alpha=0.5, epoch_size_mult=1.5, batch_size=BATCH, seed=0)
    cache, _ = open_cache("ram", split.paths, SIDE)
    loader = training_loader(split, draws, img_size=SIDE, workers=WORKERS, pin_memory=False, cache=cache)

    def answer(batch: Sequence[torch.Tensor]) -> torch.Tensor:
        inputs = runtime.put(normalize(augment(batch[0], batch[2]), MEAN, STD))
        with runtime.autocast():
            logits: torch.Tensor = forward(inputs)
        return logits.float()

    batches = without_end(loader)
    begun = time.perf_counter()
    train(batches, answer, adamw, WARM_UP)
    if compiled:
        print(f"compiling {arch}, {precision}: {time.perf_counter() - begun:.0f} s", flush=True)
    return images_per_second(lambda: train(batches, answer, adamw, steps))


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
    checkpoint, onnx = folder / "model.pth", folder / "model.onnx"
    program = [sys.executable, "-m", "skinlesion_cli"]
    # Random weights: they change no time.
    model = create_model(arch, 2, SIDE)
    classes = read_split(folder, "test").classes
    preprocessing = Preprocessing(SIDE, MEAN, STD)
    save_checkpoint(
        checkpoint,
        Checkpoint(arch=arch, classes=classes, preprocessing=preprocessing, state=plain_state(model)),
    )
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
        "evaluate, .pth, bf16": process_seconds(*evaluate, checkpoint, "--precision", "bf16", repeat=1),
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
    parser.add_argument("--test-images", type=int, default=1000, help="images to evaluate")
    parser.add_argument("--compile", action="store_true", help="measure the compiled step, too")
    parts = ["loader", "training", "processes"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw_images(folder, options.images, options.test_images)
        if "loader" in options.only:
            loaders = loader_speeds(folder, options.repeat)
            table("loader alone, images/s", loaders, "reference", more_is_better=True)
        if "training" in options.only:
            training = training_speeds(folder, options.arch, options.steps, options.repeat, options.compile)
            table(f"training {options.arch}, images/s", training, "reference, fp32", more_is_better=True)
        if "processes" in options.only:
            processes = process_figures(folder, options.arch, options.repeat)
            seconds = {name: value for name, (value, _) in processes.items()}
            table("whole processes, s", seconds, "evaluate, reference loop", more_is_better=False)
            print("\nresident memory, MB")
            print(json.dumps({name: round(memory) for name, (_, memory) in processes.items()}, indent=1))


if __name__ == "__main__":
    main()
