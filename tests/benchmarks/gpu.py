"""Training on a GPU: images per second and time spent waiting for data, against two other pipelines.

    python tests/benchmarks/gpu.py [--json gpu.json] [--seconds 6] [--budget 480]
    python tests/benchmarks/gpu.py --device cpu --tiny      # a rehearsal: the figures mean nothing

This package is measured with its own `Trainer`, at its default precision: 2 and 8 workers, cache off and on
(warm), batches of 32 and 256, eager and compiled. The reference is the published pipeline (ImageFolder, PIL
transforms, float32 batches, autocast, GradScaler, contiguous layout, AdamW), timm its loader with the
prefetcher, its optimiser and its scaler. All use mixed precision in fp16 on CUDA and pinned memory, and none
reads its loss in between. All images are synthetic JPEGs of 600 × 450.

`waits` is the share of the time in which the program waited for the next batch. `ceiling` is the speed with
one batch that is in memory already, moved and augmented in each step: what no loader can exceed.
"""

import argparse
import gc
import itertools
import json
import math
import platform
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import timm.utils
import torch
from pipelines import draw_images, endless, published_loader, timm_loader, timm_optimizer

from skinlesion_cli.common.cores import usable_cores
from skinlesion_cli.common.errors import one_line
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.screening import screen
from skinlesion_cli.data.splits import read_splits
from skinlesion_cli.models.backbone import create_model
from skinlesion_cli.training.monitor import Pace
from skinlesion_cli.training.run_folder import RunFolder
from skinlesion_cli.training.trainer import Trainer

WARM_UP = 4
"""Untimed steps before each measurement."""
DRAWN = 64
"""Different pictures; the data set holds copies of them."""

Batch = Sequence[torch.Tensor]


@dataclass(frozen=True)
class Scale:
    """How large the benchmark is."""

    arch: str
    side: int
    images: int
    batches: tuple[int, int]
    workers: tuple[int, int]


WHOLE = Scale("mobilevitv2_100", 256, 2048, (32, 256), (2, 8))
TINY = Scale("test_resnet", 64, 64, (4, 8), (1, 2))


@dataclass(frozen=True)
class Row:
    """One measurement; without figures where it failed, or the time was up."""

    pipeline: str
    batch: int
    workers: int
    cache: str
    mode: str
    speed: float | None = None
    """Images per second."""
    waits: float | None = None
    """Share of the time, 0 to 1."""
    ceiling: float | None = None
    """Images per second without a loader."""
    fault: str = "the time was up"
    """Why there are no figures."""


class Timed:
    """The batches of a loader, timed after the warm-up until `seconds` have passed; then `over` is called."""

    def __init__(
        self, loader: Iterable[Batch], seconds: float, device: torch.device, over: Callable[[], Any]
    ):
        self.loader, self.seconds, self.device, self.over = loader, seconds, device, over
        self.images, self.waited, self.begun = 0, 0.0, math.inf

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.loader)
        for number in itertools.count():
            if number == WARM_UP:
                self.begun = self._now()
            asked = time.perf_counter()
            batch = next(batches)
            if number >= WARM_UP:
                self.waited += time.perf_counter() - asked
                self.images += len(batch[0])
            # The step of the last batch is timed too: see `end`.
            if time.perf_counter() - self.begun > self.seconds:
                self.over()
            yield batch

    def end(self) -> tuple[float, float]:
        """After the last step: images per second, and the share of the time spent waiting."""
        taken = self._now() - self.begun
        return self.images / taken, self.waited / taken

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


class Endless:
    """One batch again and again, in host memory, or on the device where its loader has put it there."""

    def __init__(self, loader: Iterable[Batch]):
        self.batch = next(iter(loader))

    def __iter__(self) -> Iterator[Batch]:
        return itertools.repeat(self.batch)


class Other:
    """The training loop of another pipeline."""

    def __init__(self, kind: str, scale: Scale, device: torch.device):
        self.device, self.by_timm = device, kind == "timm"
        self.model = create_model(scale.arch, 2, scale.side).to(device)
        self.optimizer = (
            timm_optimizer(self.model)
            if self.by_timm
            else torch.optim.AdamW(self.model.parameters(), lr=3e-4, weight_decay=0.05)
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self.timm_scaler = timm.utils.NativeScaler(device=device.type) if device.type == "cuda" else None

    def measure(self, loader: Iterable[Batch], seconds: float) -> tuple[float, float]:
        """Train on batches without end; returns the speed and the share of waiting."""
        done: list[bool] = []
        timed = Timed(loader, seconds, self.device, lambda: done.append(True))
        for batch in timed:
            self.step(*(one.to(self.device, non_blocking=True) for one in batch[:2]))
            if done:
                break
        return timed.end()

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """One step of the optimiser."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            loss = torch.nn.functional.cross_entropy(self.model(images), labels)
        parameters = list(self.model.parameters())
        if self.by_timm and self.timm_scaler is not None:
            self.timm_scaler(loss, self.optimizer, clip_grad=1.0, parameters=parameters)
            return
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()


class Own:
    """This package's trainer, whose loaders can be exchanged."""

    def __init__(self, folder: Path, scale: Scale, device: str, batch: int, compiled: bool):
        settings = Settings(
            data_root=folder,
            model_arch=scale.arch,
            img_size=scale.side,
            pretrained=False,
            device=device,
            batch_size=batch,
            compile=compiled,
            epochs=1,
            # An epoch is longer than any measurement.
            epoch_size_mult=1000.0,
            cache="off",
            num_workers=0,
        )
        screening = screen(read_splits(folder, ["train", "val"]), img_size=scale.side, skip=False, workers=0)
        self.trainer = Trainer(settings, screening, RunFolder(folder / "run"))
        self.trainer.pace = Pace(self.trainer.draws.steps, 1)

    def with_loader(self, workers: int, cache: str) -> None:
        """Make the loader anew, with a warm cache."""
        update = {"num_workers": workers, "cache": cache}
        self.trainer.settings = self.trainer.settings.model_copy(update=update)
        self.trainer._make_loaders()
        if cache != "off":
            images: Any = self.trainer.loader.dataset
            with ThreadPoolExecutor(usable_cores()) as pool:
                list(pool.map(lambda index: images[index, 0], range(len(self.trainer.train_split.files))))

    def measure(self, loader: Iterable[Batch], seconds: float) -> tuple[float, float]:
        """Do real steps of an epoch, from its start; returns the speed and the share of waiting."""
        trainer = self.trainer
        timed = Timed(
            loader,
            seconds,
            trainer.runtime.device,
            lambda: setattr(trainer.stopping, "asked", signal.SIGTERM),
        )
        trainer.loader = timed  # type: ignore[assignment]
        trainer.stopping.asked, trainer.progress.step, trainer.progress.sums = None, 0, None
        trainer._train_epoch()
        return timed.end()


def rows_of(scale: Scale) -> Iterator[Row]:
    """What is measured, in this order."""
    for batch in scale.batches:
        for pipeline, workers in itertools.product(("reference", "timm"), scale.workers):
            yield Row(pipeline, batch, workers, "off", "eager")
        for mode in ("eager", "compiled"):
            for cache, workers in itertools.product(("off", "ram"), scale.workers):
                yield Row("skinlesion", batch, workers, cache, mode)


def measured(scale: Scale, folder: Path, device: str, seconds: float, until: float) -> Iterator[Row]:
    """Measure one row after the other; those that the time is not enough for have no figures."""
    kept: list[Any] = []
    for row in rows_of(scale):
        if time.monotonic() > until:
            yield row
            continue
        try:
            figures = measure(row, scale, folder, device, seconds, kept)
            yield replace(row, **figures, fault="")
        except RuntimeError as error:
            # Memory of the card, or of its host: a container may have little that processes can share.
            yield replace(row, fault=one_line(error))


def measure(
    row: Row, scale: Scale, folder: Path, device: str, seconds: float, kept: list[Any]
) -> dict[str, float]:
    """The figures of a row. `kept` is what the row before has left: its key, its subject and its ceiling."""
    key = row.pipeline, row.batch, row.mode
    if kept[:1] != [key]:
        # Its model and its memory go first.
        kept.clear()
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        subject: Any
        if row.pipeline == "skinlesion":
            subject = Own(folder, scale, device, row.batch, row.mode == "compiled")
        else:
            subject = Other(row.pipeline, scale, torch.device(device))
        ceiling, _ = subject.measure(Endless(loader_of(subject, row, scale, folder, device)), seconds / 2)
        kept += [key, subject, ceiling]
    _, subject, ceiling = kept
    loader = loader_of(subject, row, scale, folder, device)
    speed, waits = subject.measure(loader if isinstance(subject, Own) else endless(loader), seconds)
    return {"speed": speed, "waits": waits, "ceiling": ceiling}


def loader_of(subject: Any, row: Row, scale: Scale, folder: Path, device: str) -> Any:
    """The loader that a row is measured with."""
    if isinstance(subject, Own):
        subject.with_loader(row.workers, row.cache)
        return subject.trainer.loader
    if row.pipeline == "timm":
        return timm_loader(folder, scale.side, row.batch, row.workers, device=device)
    return published_loader(folder, scale.side, row.batch, row.workers, pinned=device == "cuda")


def draw_data(folder: Path, images: int) -> None:
    """A data set of many files, few of which are different."""
    draw_images(folder, min(images, DRAWN), 0)
    drawn = sorted((folder / "train").rglob("*.jpg"))
    for number in range(len(drawn), images):
        one = drawn[number % len(drawn)]
        shutil.copy(one, one.with_name(f"copy {number}.jpg"))


def line(row: Row, references: dict[tuple[int, int], float]) -> str:
    """A row of the table."""
    names = f"{row.pipeline:11}{row.batch:>6}{row.workers:>9}  {row.cache:6}{row.mode:10}"
    if row.speed is None or row.waits is None or row.ceiling is None:
        return f"{names}not measured: {row.fault}"
    ratio = row.speed / references[row.batch, row.workers]
    return f"{names}{row.speed:>10.1f}{row.waits:>8.1%}{row.ceiling:>10.1f}{ratio:>9.2f} x"


def main() -> None:
    """Measure everything; print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal of seconds")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--budget", type=float, default=480.0, help="seconds after which nothing new begins")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="file for the figures")
    options = parser.parse_args()
    until = time.monotonic() + options.budget
    scale, seconds = (TINY, min(options.seconds, 0.5)) if options.tiny else (WHOLE, options.seconds)
    card = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    cores = usable_cores()
    print(f"{card}, {cores} CPU cores, torch {torch.__version__}, {scale.arch} at {scale.side}\n")
    print("pipeline     batch  workers  cache mode        images/s   waits   ceiling  reference", flush=True)
    rows: list[Row] = []
    references: dict[tuple[int, int], float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        draw_data(Path(scratch), scale.images)
        for row in measured(scale, Path(scratch), options.device, seconds, until):
            if row.pipeline == "reference":
                references[row.batch, row.workers] = row.speed or math.nan
            rows.append(row)
            print(line(row, references), flush=True)
            document = {"device": card, "cores": cores, "torch": torch.__version__, "seconds": seconds}
            document |= {"scale": asdict(scale), "rows": [asdict(one) for one in rows]}
            options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
