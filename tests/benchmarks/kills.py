"""Whether a training run loses anything if it is killed at random moments and resumed each time.

    python -m tests.benchmarks.kills [--kills 20] [--seed 1]

One run is uninterrupted; another is killed (SIGKILL) many times, once in the middle of writing a checkpoint.
Their weights and histories must be identical, and after each kill a checkpoint must be loadable. This is done
with no and with two worker processes. All images are synthetic.
"""

import argparse
import os
import random
import tempfile
import time
from pathlib import Path

from tests.conftest import draw_data_set
from tests.support.killed import SMALL, Run, kill, kill_in_a_write, wait_for_line


def kill_repeatedly(run: Run, kills: int, draw: random.Random, length: float) -> None:
    """Kill the run `kills` times, then let it finish; print when each kill happened."""
    saved = False
    for number in range(1, kills + 1):
        if number == kills // 2:
            caught = False
            while not caught:
                with run.started() as process:
                    caught = kill_in_a_write(run, process)
            where = "in the middle of a write"
        else:
            from_start = number % 4 == 0
            delay = draw.uniform(0, length / (2 if from_start else kills))
            with run.started() as process:
                if not from_start:
                    wait_for_line(process, "not been checked for leaks")
                time.sleep(delay)
                kill(process)
            where = f"{delay:.2f} s after {'the start' if from_start else 'training began'}"
        loadable = run.loadable()
        if saved and not loadable:
            raise SystemExit(f"kill {number}, {where}: no checkpoint can be loaded")
        saved = bool(loadable)
        half = " (and a half-written file)" if run.unfinished() else ""
        print(f"  kill {number:>2}: {where}; intact: {', '.join(loadable) or 'none yet'}{half}", flush=True)
    run.finish()


def main() -> None:
    """Run, kill, compare, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        data = draw_data_set(Path(scratch, "data"), {"train": (40, 30, 20), "val": (4, 3, 2)})
        environment = os.environ | {"XDG_CACHE_HOME": str(Path(scratch, "cache"))}
        for workers in (0, 2):
            arguments = ["--data", data, *SMALL, "--epochs", 8, "--save-every", 1, "--num-workers", workers]
            uninterrupted = Run(Path(scratch, f"whole-{workers}"), arguments, environment)
            begun = time.monotonic()
            uninterrupted.finish()
            length = time.monotonic() - begun
            print(f"{workers} workers: uninterrupted run, {length:.0f} s", flush=True)
            killed = Run(Path(scratch, f"killed-{workers}"), arguments, environment)
            kill_repeatedly(killed, options.kills, random.Random(options.seed), length)
            for name, expected in uninterrupted.results().items():
                found = killed.results()[name]
                failed |= found != expected
                print(f"  {name}: {'equal' if found == expected else 'DIFFERENT'} ({found[:16]})", flush=True)
    if failed:
        raise SystemExit("the killed runs differ from the uninterrupted ones")


if __name__ == "__main__":
    main()
