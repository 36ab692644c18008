"""How time and memory grow with the number of images: 10,000, 40,000, 160,000 and 400,000 small JPEGs.

    python tests/benchmarks/scale.py [--images 10000 40000] [--only predict evaluate]

All images are synthetic, each one different, in three splits and two classes. The files are read once before
the first command, so that each number of images starts with a warm file list. Linux only: it reads /proc.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD
from skinlesion_cli.exporting.onnx import export
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.models.checkpoint import Checkpoint
from skinlesion_cli.models.preprocessing import Preprocessing

CLASSES = {"nevus": 0.9, "melanoma": 0.1}
SPLITS = {"train": 0.6, "val": 0.1, "test": 0.3}
SIZE = (96, 72)
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
        random = np.random.default_rng(number)
        split = random.choice(list(SPLITS), p=list(SPLITS.values()))
        name = random.choice(list(CLASSES), p=list(CLASSES.values()))
        coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8))
        file = io.BytesIO()
        coarse.resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=80)
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


def measure(command: list[str], environment: dict[str, str]) -> tuple[int, float, float]:
    """Exit code, seconds and peak memory in MB of a command, with the processes that it starts."""
    peak = 0.0
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
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
    return process.returncode, seconds, peak


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
    print(f"{'command':24} {'images':>8} {'seconds':>9} {'ms/image':>9} {'MB':>7}", flush=True)
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
                "data check": [*tool, "data", "check", str(data)],
                "data check, repeated": [*tool, "data", "check", str(data)],
            }
            for name, command in commands.items():
                if options.only is None or name in options.only:
                    code, seconds, peak = measure(command, environment)
                    # evaluate scores one split.
                    count = images * SPLITS["test"] if name == "evaluate" else images
                    each = 1e3 * seconds / count
                    fault = f"  exit {code}" if code else ""
                    print(f"{name:24} {images:8} {seconds:9.1f} {each:9.3f} {peak:7.0f}{fault}", flush=True)


if __name__ == "__main__":
    main()
