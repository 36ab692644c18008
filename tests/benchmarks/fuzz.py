"""Damaged files for every reader: `python tests/benchmarks/fuzz.py --inputs 2000`.

Each batch is read in a separate process, so a decoder that crashes, hangs or needs too much memory becomes a
finding. Each finding is saved as a file in --keep. The test suite runs a small part of this.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fuzz.mutation import damaged
from tests.fuzz.readers import READERS, Reader, fault_of_reading

BATCH = 250
SECONDS = 10
MEMORY = 2 << 30


def main() -> None:
    """Fuzz the readers and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000, help="inputs per reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", default="", help="comma-separated names; default: all")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    chosen = [one for one in READERS if not options.readers or one.name in options.readers.split(",")]
    _import_first()
    print(
        f"{'reader':<12} {'inputs':>7} {'read':>6} {'refused':>8} {'findings':>8} {'slowest':>8} {'peak':>8}"
    )
    total = findings = 0
    for reader in chosen:
        counts, slowest, peak = fuzz(reader, options.inputs, options.seed, options.keep)
        total, findings = total + options.inputs, findings + counts["finding"]
        print(
            f"{reader.name:<12} {options.inputs:>7} {counts['read']:>6} {counts['refused']:>8} "
            f"{counts['finding']:>8} {slowest:>6.2f} s {peak / 2**20:>5.0f} MB",
            flush=True,
        )
    print(f"{total} inputs, {findings} findings")
    sys.exit(1 if findings else 0)


def _import_first() -> None:
    # Imported once for all child processes. One thread, because threads do not survive a fork.
    import onnxruntime  # noqa: F401
    import timm  # noqa: F401
    import torch

    torch.set_num_threads(1)


def fuzz(reader: Reader, inputs: int, seed: int, keep: Path) -> tuple[Counter[str], float, int]:
    """Read damaged files; returns the number of each outcome, the longest time and the peak memory."""
    seeds = reader.seeds()
    counts: Counter[str] = Counter()
    slowest, peak, done = 0.0, 0, 0
    while done < inputs:
        results = _batch(reader, seeds, seed, done, min(BATCH, inputs - done))
        for number, (kind, seconds, memory) in enumerate(results, start=done):
            slowest, peak = max(slowest, seconds), max(peak, memory)
            counts["finding" if kind not in ("read", "refused") else kind] += 1
            if kind not in ("read", "refused"):
                keep.mkdir(parents=True, exist_ok=True)
                path = keep / f"{reader.name}-{seed}-{number}{reader.suffix}"
                path.write_bytes(reader.wrap(damaged(seeds, reader.tokens, _random(reader, seed, number))))
                print(f"  {path}: {kind}", flush=True)
        # After a crash, the next batch begins after the input that caused it.
        done += len(results)
    return counts, slowest, peak


def _random(reader: Reader, seed: int, number: int) -> random.Random:
    return random.Random(f"{reader.name} {seed} {number}")


def _batch(
    reader: Reader, seeds: list[bytes], seed: int, first: int, count: int
) -> list[tuple[str, float, int]]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            try:
                _work(reader, seeds, seed, range(first, first + count), Path(folder), theirs)
            finally:
                os._exit(0)
        theirs.close()
        results = []
        while True:
            try:
                results.append(json.loads(ours.recv_bytes()))
            except EOFError:
                break
        _, status = os.waitpid(child, 0)
        if len(results) < count:
            signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            name = signal.Signals(signalled).name if signalled else f"exit {status}"
            results.append([f"the process ended: {name}", SECONDS if signalled == signal.SIGALRM else 0.0, 0])
        return [(kind, seconds, memory) for kind, seconds, memory in results]


def _work(reader: Reader, seeds: list[bytes], seed: int, numbers: range, folder: Path, out: object) -> None:
    os.chdir(folder)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    path = folder / (
        reader.suffix
        if reader.suffix.endswith(".csv") and reader.suffix[0] != "."
        else "input" + reader.suffix
    )
    picture = folder / "picture.jpg"
    picture.touch()
    for number in numbers:
        path.write_bytes(reader.wrap(damaged(seeds, reader.tokens, _random(reader, seed, number))))
        begun = time.monotonic()
        signal.alarm(SECONDS)
        fault, refused = fault_of_reading(reader, path)
        signal.alarm(0)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if not fault and memory > MEMORY:
            fault = f"{memory / 2**30:.1f} GiB of memory"
        others = set(folder.iterdir()) - {path, picture}
        if not fault and others:
            fault = f"it wrote {others.pop().name}"
        kind = fault or ("refused" if refused else "read")
        out.send_bytes(json.dumps([kind, time.monotonic() - begun, memory]).encode())  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
