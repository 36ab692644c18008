"""From files to training batches: weighted sampling, the data set that reads the images, and its loader.

Workers return bytes; everything after the crop happens on the device (`augment`).
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Note, OnEvent, ignore
from skinlesion_cli.common.paper import PAPER as CROP
from skinlesion_cli.common.paper import Resize
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.signals import outlive_signals
from skinlesion_cli.data.augment import PAPER, SHOWN, Augmentation, draw_parameters, draw_view
from skinlesion_cli.data.class_balance import sampling_probabilities
from skinlesion_cli.data.image_cache import ImageCache, ShrunkPictures
from skinlesion_cli.data.mixing import draw_mixing
from skinlesion_cli.data.splits import Split
from skinlesion_cli.data.workers import workers_that_fit
from skinlesion_cli.metrics.arrays import Ints
from skinlesion_cli.training.faults import SCARCE

Draw = tuple[int, int]
"""Index of an image, and the seed of its augmentation."""


@dataclass(frozen=True)
class Division:
    """Splits a step into `processes` × `accumulate` batches: one for each process, then the next ones."""

    processes: int = 1
    rank: int = 0
    """Of this process, from 0."""
    accumulate: int = 1
    """Gradient accumulation steps: batches of each process per optimiser step."""
    keeps_pairs: bool = False
    """Whether all batches begin at even positions, so that no pair of images to be mixed is split."""

    @property
    def parts(self) -> int:
        """Batches per step, over all processes."""
        return self.processes * self.accumulate

    def own_parts(self, images: int) -> list[slice]:
        """This process's `accumulate` batches of a step of at least `parts` images, as even as possible."""
        pair = 2 if self.keeps_pairs and images >= 2 * self.parts else 1
        bounds = [part * (images // pair) // self.parts * pair for part in range(self.parts)] + [images]
        batches = [slice(*pair) for pair in itertools.pairwise(bounds)]
        return batches[self.rank :: self.processes]

    def describe(self, settings: Settings) -> str:
        """Say how many images a step has, and why."""
        factors = [f"{self.processes} processes"] if self.processes > 1 else []
        factors += [f"batch {settings.batch_size}"]
        factors += [f"accumulate {self.accumulate}"] if self.accumulate > 1 else []
        images = settings.batch_size * self.parts
        return f"{' × '.join(factors)} = {images} images per step; learning rate unchanged"


class WeightedDraws(Sampler[list[Draw]]):
    """Batches of images drawn with replacement: a class by its probability, then one of its images uniformly.

    The draws of an epoch depend only on the seed and the epoch, so a resumed run continues with the same
    draws, with any number of workers. Several processes draw the same images, and each takes its part of
    every step. Before the epoch `deferred`, classes are sampled by their frequency.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        alpha: float,
        epoch_size_mult: float,
        batch_size: int,
        seed: int,
        division: Division = Division(),
        deferred: int = 0,
    ):
        """Draw epoch 0 of images with these labels (0, 1, …); InputError if it is too short for one step."""
        self._labels = np.asarray(labels)
        self._sizes = np.bincount(self._labels)
        self._by_class = np.argsort(self._labels, kind="stable")
        self._alpha, self._deferred = alpha, deferred
        self._seed = seed
        self.epoch_size = max(1, round(epoch_size_mult * len(labels)))
        self.step_size = batch_size * division.parts
        """Images per step, except for the last."""
        self.division = division
        if self.epoch_size < division.parts:
            raise InputError(
                f"an epoch draws {self.epoch_size} images, too few for {division.parts} batches per step: "
                "start fewer processes, or lower --accumulate"
            )
        starts = list(range(0, self.epoch_size, self.step_size))
        # Batch normalisation cannot train on one image: if the batches of the last step would have fewer than
        # two, it is merged with the step before.
        if len(starts) > 1 and self.epoch_size - starts[-1] < 2 * division.parts:
            starts.pop()
        self._bounds = [*starts, self.epoch_size]
        self.start_epoch(0)

    def start_epoch(self, epoch: int, first_step: int = 0) -> None:
        """Draw the images of an epoch, of which the first steps were done before the run was resumed."""
        self.epoch, self.first_step = epoch, first_step
        generator = np.random.default_rng((self._seed, epoch))
        alpha = 1.0 if epoch < self._deferred else self._alpha
        probabilities = sampling_probabilities(self._sizes.tolist(), alpha)
        classes = generator.choice(len(self._sizes), size=self.epoch_size, p=probabilities)
        inside = (generator.random(self.epoch_size) * self._sizes[classes]).astype(np.int64)
        starts = np.cumsum(self._sizes) - self._sizes
        self.indices: Ints = self._by_class[starts[classes] + inside]
        """(epoch_size,), of the epoch's images."""
        self._seeds = generator.integers(2**62, size=self.epoch_size)

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return len(self._bounds) - 1

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.division.accumulate

    def __iter__(self) -> Iterator[list[Draw]]:
        for begin, end in itertools.pairwise(self._bounds[self.first_step :]):
            draws = list(zip(self.indices[begin:end].tolist(), self._seeds[begin:end].tolist(), strict=True))
            yield from (draws[part] for part in self.division.own_parts(len(draws)))

    def labels_by_step(self) -> Iterator[Ints]:
        """For each step from `first_step` on, the labels of its images, those of all processes."""
        for begin, end in itertools.pairwise(self._bounds[self.first_step :]):
            yield self._labels[self.indices[begin:end]]

    def images_of_steps(self, first: int, stop: int) -> list[int]:
        """Indices of the images drawn in steps `first` (from 0) to `stop` (excluded) of the epoch."""
        return self.indices[self._bounds[first] : self._bounds[stop]].tolist()  # type: ignore[no-any-return]


class TrainingImages(Dataset[tuple[torch.Tensor, int, torch.Tensor]]):
    """Training images by `Draw`: a random crop's bytes (3, side, side), the label, and the parameters.

    The parameters are those of `augment`, followed by those of `mix` if `mixup` or `cutmix` is above 0.
    """

    def __init__(
        self,
        split: Split,
        img_size: int,
        cache: ImageCache | None = None,
        *,
        resize: Resize = CROP,
        augmentation: Augmentation = PAPER,
        mixup: float = 0.0,
        cutmix: float = 0.0,
    ):
        self._augmentation, self._mixup, self._cutmix = augmentation, mixup, cutmix
        self._pictures = ShrunkPictures(split.paths, img_size, cache)
        self._labels = split.labels
        self._img_size, self._resize = img_size, resize

    def __getitem__(self, key: Draw) -> tuple[torch.Tensor, int, torch.Tensor]:
        index, seed = key
        # The augmentation depends on the draw's own seed, not on the worker that happens to make it.
        generator = np.random.default_rng(seed)
        picture = self._pictures[index]
        pixels, shown = draw_view(generator, picture, self._img_size, self._resize, self._augmentation)
        parameters = draw_parameters(generator, self._augmentation)
        parameters[SHOWN] = shown
        if self._mixup or self._cutmix:
            parameters = np.concatenate([parameters, draw_mixing(generator, self._mixup, self._cutmix)])
        return pixels, self._labels[index], torch.from_numpy(parameters)


def loading_workers(settings: Settings, workers: int, sharers: int, on_event: OnEvent = ignore) -> int:
    """Processes that load batches: `workers`, or fewer if the shared memory is not enough for as many.

    A number that the user has set is kept. `sharers` processes of this machine each start this many.
    """
    if settings.num_workers is None:
        batch = 3 * settings.img_size**2 * settings.batch_size
        if (fitting := workers_that_fit(workers, sharers * batch)) < workers:
            on_event(Note(f"{fitting} worker processes instead of {workers}: {SCARCE}"))
            return fitting
    return workers


def training_loader(
    split: Split,
    draws: WeightedDraws,
    *,
    img_size: int,
    workers: int,
    pin_memory: bool = False,
    cache: ImageCache | None = None,
    **augmentation: Any,
) -> DataLoader[Any]:
    """Batches of one epoch's draws: bytes (n, 3, side, side), labels (n,) and parameters (n, 12 or 16).

    `augmentation` are additional arguments of `TrainingImages`.
    """
    return DataLoader(
        TrainingImages(split, img_size, cache, **augmentation),
        batch_sampler=draws,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=outlive_signals,
        # The loader draws a seed for its workers. From the global generator, that would change the model's
        # own draws (dropout), and a resumed run would differ from an uninterrupted one.
        generator=torch.Generator().manual_seed(0),
    )
