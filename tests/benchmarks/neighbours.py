"""Training alone and beside busy neighbours, with threads that spin while they wait and with ours.

    python tests/benchmarks/neighbours.py [--images 200] [--busy 2] [--repeat 3]

Two epochs of `mobilevitv2_050` at 64 pixels on synthetic images, from the start of the command to its end.
"spinning" is OpenMP's own default, "passive" what `skinlesion` asks for. Figures are medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines import draw_images

SPINNING = {"GOMP_SPINCOUNT": "300000"}
"""libgomp's own default, which only a variable can bring back."""


def seconds(data: Path, variables: dict[str, str]) -> float:
    """Time of one training run."""
    tuned = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS"}
    environment = {name: value for name, value in os.environ.items() if name not in tuned} | variables
    options = ["--arch", "mobilevitv2_050", "--img-size", "64", "--no-pretrained", "--epochs", "2"]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "skinlesion_cli", "train", "--data", data, "--out", out, *options]
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return time.perf_counter() - start


def main() -> None:
    """Print one row per kind of waiting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--busy", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    times: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        draw_images(data, chosen.images, 20)
        for _ in range(chosen.repeat):
            for loaded in (False, True):
                busy = [
                    subprocess.Popen([sys.executable, "-c", "while True: pass"])
                    for _ in range(chosen.busy if loaded else 0)
                ]
                try:
                    for name, variables in (("spinning", SPINNING), ("passive", {})):
                        times.setdefault((name, loaded), []).append(seconds(data, variables))
                finally:
                    for one in busy:
                        one.kill()
                        one.wait()
    print(f"{'':10} {'alone':>8} {f'beside {chosen.busy} busy processes':>28}")
    middle = {key: statistics.median(values) for key, values in times.items()}
    for name in ("spinning", "passive"):
        print(f"{name:10} {middle[name, False]:7.1f}s {middle[name, True]:27.1f}s")
    print(f"{'ratio':10} {middle['spinning', False] / middle['passive', False]:8.2f}", end=" ")
    print(f"{middle['spinning', True] / middle['passive', True]:28.2f}")


if __name__ == "__main__":
    main()
