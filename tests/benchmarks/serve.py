"""The server under load, and under damaged uploads.

    python tests/benchmarks/serve.py --checkpoint model.onnx [--requests 1000] [--clients 20] [--inputs 5000]

It starts `skinlesion serve`, sends drawn photographs from many clients at once, then damaged image files.
Every request must be answered: one that gets 429 or 503 is sent again after the seconds that this names.
The server may neither fail nor warn nor leave a file. Linux only: it reads /proc.
"""

import argparse
import http.client
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

sys.path.insert(0, str(Path(__file__).parents[2]))
from skinlesion_cli.curation.synthetic import draw_lesion
from tests.fuzz.image_files import TOKENS
from tests.fuzz.mutation import damaged
from tests.fuzz.readers import READERS
from tests.support.processes import resident_mb, started

PICTURES = "photograph,frame,heat_map"
SAMPLES = 10
"""How often memory is measured."""
WORDS = "Content-Type", "application/octet-stream"


def main() -> None:
    """Run both parts and print their figures; exit code 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, errors = Path(place, "tmp"), Path(place, "stderr.txt")
        folder.mkdir()
        command = [sys.executable, "-m", "skinlesion_cli", "serve", "--port", "0", "--rate", options.rate]
        command += ["--checkpoint", options.checkpoint.absolute()]
        env = dict(os.environ) | {"TMPDIR": str(folder)}
        pipes = {"stdout": subprocess.PIPE, "stderr": errors.open("w")}
        with started([*map(str, command)], env=env, cwd=folder, **pipes) as process:
            assert process.stdout is not None
            host = process.stdout.readline().strip().split("/")[2]
            faults = load(host, process.pid, options.requests, options.clients)
            faults += fuzz(host, process.pid, options.inputs, options.seed)
            faults += [f"left: {path}" for path in folder.rglob("*") if path.is_file()]
            if process.poll() is not None:
                faults.append("the server has ended")
            # libtiff itself prints a line about a damaged TIFF.
            lines = errors.read_text().splitlines()
            faults += [line for line in lines if line.startswith(("warning", "error", "Trace"))]
    print("\n".join(["", *faults, f"{len(faults)} findings"]))
    sys.exit(1 if faults else 0)


def load(host: str, process: int, requests: int, clients: int) -> list[str]:
    """Many clients at once, each with one connection; returns what is wrong."""
    photographs = []
    for seed in range(20):
        buffer = io.BytesIO()
        draw_lesion("synthetic ring", seed).resize((600, 450)).save(buffer, "JPEG", quality=90)
        photographs.append(buffer.getvalue())
    work: SimpleQueue[int] = SimpleQueue()
    for number in range(requests):
        work.put(number)
    counts, seconds, faults = Counter[int](), list[float](), list[str]()
    memory, lock = [resident_mb(process)], threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(host, timeout=300)
        while True:
            try:
                number = work.get_nowait()
            except Empty:
                return
            begun = time.monotonic()
            name = f"{number}.jpg"
            status, body = answered(
                connection, name, photographs[number % len(photographs)], PICTURES, counts
            )
            with lock:
                seconds.append(time.monotonic() - begun)
                if status != 200 or body["image"] != name or "png" not in body["frame"]:
                    faults.append(f"{status}: {str(body)[:200]}")
                if len(seconds) % max(1, requests // SAMPLES) == 0:
                    memory.append(resident_mb(process))

    begun = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed, ordered = time.monotonic() - begun, sorted(seconds)
    p50, p95 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
    print(f"{len(seconds)} of {requests} answered to {clients} clients in {passed:.1f} s", dict(counts))
    print(
        f"{requests / passed:.1f} per second; median {p50:.2f} s, p95 {p95:.2f} s, most {ordered[-1]:.2f} s"
    )
    print("resident memory in MB:", *(f"{one:.0f}" for one in memory), flush=True)
    return faults + ([f"{requests - len(seconds)} lost"] if len(seconds) < requests else [])


def fuzz(host: str, process: int, inputs: int, seed: int) -> list[str]:
    """Damaged image files; returns what is wrong."""
    connection = http.client.HTTPConnection(host, timeout=60)
    counts, faults, slowest = Counter[int](), list[str](), 0.0
    for kind, content in damaged_files(inputs, seed):
        begun = time.monotonic()
        status, body = answered(connection, "x", content, "", counts)
        slowest = max(slowest, time.monotonic() - begun)
        line = str(body.get("error", ""))
        is_line = bool(line) and "\n" not in line and "Traceback" not in line
        if status not in (200, 400, 413, 415) or is_line is (status == 200):
            faults.append(f"{kind}, {status}: {str(body)[:300]}")
    print(f"{inputs} damaged files: {dict(counts)}, slowest {slowest:.2f} s, {resident_mb(process):.0f} MB")
    return faults


def damaged_files(inputs: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """As many of each kind of image."""
    draw, kinds = random.Random(seed), [one for one in READERS if one.name.upper() in TOKENS]
    seeds = {one.name: one.seeds() for one in kinds}
    for number in range(inputs):
        one = kinds[number % len(kinds)]
        yield one.name, one.wrap(damaged(seeds[one.name], one.tokens, draw))


def answered(
    connection: http.client.HTTPConnection, name: str, content: bytes, include: str, counts: Counter[int]
) -> tuple[int, dict[str, object]]:
    """Status and body of the answer, after as many trials as it takes."""
    while True:
        path = f"/api/predict?name={name}" + (f"&include={include}" if include else "")
        connection.request("POST", path, content, dict([WORDS]))
        response = connection.getresponse()
        body = json.loads(response.read())
        counts[response.status] += 1
        if response.status not in (429, 503):
            return response.status, body
        time.sleep(float(response.headers["Retry-After"]))


if __name__ == "__main__":
    main()
