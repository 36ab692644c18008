"""How time and memory grow with the number of images: 10,000, 40,000, 160,000 and 400,000 small JPEGs.

    python tests/benchmarks/scale.py [--images 10000 40000] [--only predict evaluate]

All images are synthetic, in three splits and two classes; one in 500 is a changed copy of the one before, and
`data check` shows how many of them it finds. The files are written just before the first command, so that
each number of images starts with a warm file list. Linux only: it reads /proc.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD
from skinlesion_cli.exporting.onnx import export
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.models.checkpoint import Checkpoint
from skinlesion_cli.models.preprocessing import Preprocessing

CLASSES = {"nevus": 0.9, "melanoma": 0.1}
SPLITS = {"train": 0.6, "val": 0.1, "test": 0.3}
SIZE = (96, 72)
COPY_EVERY = 500
FIRST_STEP = """
import sys
from skinlesion_cli import train
from skinlesion_cli.common.events import StepsDone

def stop(event):
    if isinstance(event, StepsDone):
        sys.exit(0)

train(data_root=sys.argv[1], out=sys.argv[2], model_arch="mobilevitv2_050", pretrained=False, img_size=64,
      num_workers=2, cache="off", device="cpu", on_event=stop)
"""


def draw(folder: Path, first: int, last: int) -> None:
    """Draw the images with these numbers."""
    for number in range(first, last):
        is_copy = number % COPY_EVERY == COPY_EVERY - 1
        random = np.random.default_rng(number - is_copy)
        split = random.choice(list(SPLITS), p=list(SPLITS.values()))
        name = random.choice(list(CLASSES), p=list(CLASSES.values()))
        noise = [random.integers(0, 256, (9 * k, 12 * k, 3), np.uint8) for k in (1, 5)]
        shapes, texture = (Image.fromarray(one).resize(SIZE, Image.Resampling.BICUBIC) for one in noise)
        image = Image.blend(shapes, texture, 0.3)
        if is_copy:
            left, top = random.integers(0, 6, 2).tolist()
            image = ImageOps.mirror(image.crop((left, top, left + 90, top + 66)))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=60 if is_copy else 80)
        target = folder / split / name / f"{number:06}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.getvalue())


def listed(data: Path, table: Path) -> Path:
    """Write a table of all images, with the class of each."""
    files = sorted(data.rglob("*.jpg"))
    rows = [f"{file.relative_to(data)},{file.parent.name}\n" for file in files]
    table.write_text("".join(["file,label\n", *rows]), encoding="utf-8")
    return table


def untrained(target: Path) -> Path:
    """Export a small network with random weights."""
    state = create_model("mobilevitv2_050", len(CLASSES), 64).state_dict()
    prepared = Preprocessing(64, IMAGENET_MEAN, IMAGENET_STD)
    checkpoint = Checkpoint(
        arch="mobilevitv2_050", classes=tuple(sorted(CLASSES)), preprocessing=prepared, state=state
    )
    return export(checkpoint, target, np.zeros((1, 3, 64, 64), np.uint8)).path


class Cost(NamedTuple):
    """Of a command, with the processes that it starts."""

    code: int
    output: str
    seconds: float
    processor: float
    """Seconds of processor time, which depend less on what else the machine does."""
    megabytes: float


def measure(command: list[str], environment: dict[str, str], output: Path) -> Cost:
    """Run a command; its standard output goes through a file."""
    peak = 0.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (
        output.open("wb") as stdout,
        subprocess.Popen(command, env=environment, stdout=stdout, stderr=subprocess.PIPE) as process,
    ):
        begin = time.perf_counter()
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.2):
                peak = max(peak, sum(map(private_mb, family(process.pid))))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, errors = process.communicate()
        seconds = time.perf_counter() - begin
        done.set()
        watcher.join()
    if process.returncode not in (0, 1):
        sys.exit(errors.decode()[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(process.returncode, output.read_text(encoding="utf-8"), seconds, processor, peak)


def copies_found(document: str) -> str:
    """How many of the changed copies `data check --json` found, and how many other pairs."""
    pairs = [{int(Path(pair[side]).stem) for side in ("a", "b")} for pair in json.loads(document)["pairs"]]
    true = sum(max(pair) % COPY_EVERY == COPY_EVERY - 1 and max(pair) - min(pair) == 1 for pair in pairs)
    return f"  {true} copies and {len(pairs) - true} other pairs"


def family(process: int) -> list[int]:
    """A process and all that it started."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [process, *(one for child in children for one in family(int(child)))]


def private_mb(process: int) -> float:
    """Memory of a process, its share of what it shares with others counted."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("Pss:")), 0.0)


def main() -> None:
    """Draw the images, run each command on them, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 40_000, 160_000, 400_000])
    parser.add_argument("--only", nargs="+", help="names of the rows to measure")
    options = parser.parse_args()
    print(
        f"{'command':24} {'images':>8} {'seconds':>9} {'ms/image':>9} {'processor':>9} {'MB':>7}", flush=True
    )
    with tempfile.TemporaryDirectory() as scratch:
        data, out, drawn = Path(scratch, "data"), Path(scratch, "out"), 0
        model = ["--checkpoint", str(untrained(Path(scratch, "model.onnx")))]
        environment = os.environ | {"XDG_CACHE_HOME": str(Path(scratch, "cache"))}
        for images in options.images:
            with ProcessPoolExecutor() as pool:
                starts = range(drawn, images, 1000)
                list(
                    pool.map(draw, [data] * len(starts), starts, [min(one + 1000, images) for one in starts])
                )
            drawn = images
            tool = [sys.executable, "-m", "skinlesion_cli"]
            table = listed(data, Path(scratch, f"list-{images}.csv"))
            csv, splits = out / f"{images}.csv", out / f"splits-{images}.csv"
            commands = {
                "train: first step": [
                    sys.executable,
                    "-c",
                    FIRST_STEP,
                    str(data),
                    str(out / f"run-{images}"),
                ],
                "predict": [*tool, "predict", str(data), *model, "--csv", str(csv)],
                "evaluate": [
                    *tool,
                    "evaluate",
                    "--data",
                    str(data),
                    *model,
                    "--out",
                    str(out / f"e{images}"),
                ],
                "data check --no-near": [*tool, "data", "check", str(data), "--no-near"],
                "data split --no-near": [
                    *tool,
                    "data",
                    "split",
                    *[str(table), "--images", str(data), "--no-near"],
                    "--out",
                    str(splits),
                ],
                "data check": [*tool, "data", "check", str(data), "--json"],
                "data check, repeated": [*tool, "data", "check", str(data), "--json"],
            }
            for name, command in commands.items():
                if options.only is None or name in options.only:
                    cost = measure(command, environment, Path(scratch, "output"))
                    # evaluate scores one split.
                    each = 1e3 / (images * SPLITS["test"] if name == "evaluate" else images)
                    note = f"  exit {cost.code}" if cost.code else ""
                    note += copies_found(cost.output) if "--json" in command else ""
                    print(
                        f"{name:24} {images:8} {cost.seconds:9.1f} {each * cost.seconds:9.3f} "
                        f"{each * cost.processor:9.3f} {cost.megabytes:7.0f}{note}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
