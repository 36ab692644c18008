"""Startup times of two checkouts of this package, measured alternately in one run.

    python -m tests.benchmarks.prompt --before DIR --after DIR [--repeat 10]

Prints the wall times of `--help`, `weights` and `predict IMAGE`, and their ratio (after / before). For
`predict`, each checkout first trains its own small checkpoint for one epoch. All images are synthetic.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.conftest import TINY, draw_data_set


def seconds(checkout: Path, folder: Path, *arguments: object) -> float:
    """Wall time of one command of a checkout, run in `folder`; it must succeed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKINLESION_")}
    environment = kept | {"PYTHONPATH": str(checkout.resolve()), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "skinlesion_cli", *map(str, arguments)]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(command[3:])} failed: {done.stderr}")
    return taken


def main() -> None:
    """Measure each command in both checkouts, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the older version")
    parser.add_argument("--after", type=Path, required=True, help="checkout of the newer version")
    parser.add_argument("--repeat", type=int, default=10, help="runs of each command in each checkout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = draw_data_set(Path(scratch, "data"), {"train": (6, 5, 4), "val": (2, 2, 2)})
        image = next(data.rglob("*.jpg"))
        sides = [(options.before, Path(scratch, "before")), (options.after, Path(scratch, "after"))]
        for checkout, folder in sides:
            folder.mkdir()
            seconds(checkout, folder, "train", "--data", data, *TINY, "--epochs", 1)
        print("seconds: minimum, median | before | after | ratio")
        for command in (["--help"], ["weights"], ["predict", image]):
            # The first turn only fills caches, of compiled modules and of the file system.
            turns = [[seconds(*side, *command) for side in sides] for _ in range(options.repeat + 1)][1:]
            before, after = [(min(one), median(one)) for one in zip(*turns, strict=True)]
            ratios = [new / old for old, new in zip(before, after, strict=True)]
            columns = ["{:.3f}, {:.3f}".format(*one) for one in (before, after, ratios)]
            print(" | ".join([str(command[0]), *columns]), flush=True)


if __name__ == "__main__":
    main()
