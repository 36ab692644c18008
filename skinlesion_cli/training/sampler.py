"""From files to training batches: the dual-weighted draws, the data set that reads them, and its loader.

Workers hand over bytes; all that follows the crop happens on the device (`augment`).
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.signals import outlive_signals
from skinlesion_cli.data.augment import crop, draw_crop, draw_parameters
from skinlesion_cli.data.class_balance import sampling_probabilities
from skinlesion_cli.data.image_cache import ImageCache, ShrunkPictures
from skinlesion_cli.data.splits import Split
from skinlesion_cli.models.device import Runtime
from skinlesion_cli.training.division import Division

Draw = tuple[int, int]
"""Index of an image, and the seed of its augmentation."""


class WeightedDraws(Sampler[list[Draw]]):
    """Batches of images drawn with replacement: a class by its probability, then an image of it uniformly.

    What an epoch draws follows from the seed and the epoch alone, so a resumed run draws what it would have
    drawn, with any number of workers. Several processes draw the same, and each takes its part of every step.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        alpha: float,
        epoch_size_mult: float,
        batch_size: int,
        seed: int,
        division: Division = Division(),  # noqa: B008 - frozen
    ):
        """Say what is drawn.

        Args:
            labels: of the images, each class from 0 on at least once.
            alpha: of `sampling_probabilities`.
            epoch_size_mult: draws of an epoch for each image.
            batch_size: draws a batch.
            seed: of the draws.
            division: of a step into batches.

        Raises:
            InputError: an epoch draws too few to give every process an image.
        """
        self._by_class = _indices_by_class(labels)
        self._probabilities = sampling_probabilities([len(indices) for indices in self._by_class], alpha)
        self.epoch_size = max(1, round(epoch_size_mult * len(labels)))
        self.epoch = 0
        """Set it before an epoch begins."""
        self.first_step = 0
        """Steps of the epoch to leave out, because they were done before a resumption."""
        self.step_size = batch_size * division.parts
        """Draws of a step, but for the last."""
        self._labels = np.asarray(labels)
        self._division = division
        self._seed = seed
        if self.epoch_size < division.parts:
            raise InputError(
                f"an epoch draws {self.epoch_size} images, too few for {division.parts} batches a step: "
                "start fewer processes, or lower --accumulate"
            )

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """All draws of the epoch: indices of images, and a seed for the augmentation of each."""
        generator = np.random.default_rng((self._seed, self.epoch))
        classes = generator.choice(len(self._by_class), size=self.epoch_size, p=self._probabilities)
        sizes = np.array([len(indices) for indices in self._by_class])
        inside = (generator.random(self.epoch_size) * sizes[classes]).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        indices = np.concatenate(self._by_class)[starts[classes] + inside]
        return indices, generator.integers(2**62, size=self.epoch_size)

    def _starts(self) -> list[int]:
        starts = list(range(0, self.epoch_size, self.step_size))
        # Batch normalisation cannot train on one image: a last step that would leave a batch with fewer than
        # two joins the step before it.
        if len(starts) > 1 and self.epoch_size - starts[-1] < 2 * self._division.parts:
            starts.pop()
        return starts

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return len(self._starts())

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self._division.accumulate

    def __iter__(self) -> Iterator[list[Draw]]:
        for draws in self.batches(self.first_step, self.steps):
            yield from (draws[part] for part in self._division.mine(len(draws)))

    def batches(self, first: int, stop: int) -> Iterator[list[Draw]]:
        """The draws of the epoch's steps, from `first` (the first of all is 0) to before `stop`."""
        indices, seeds = (values.tolist() for values in self.draw())
        for begin, end in itertools.pairwise(self._bounds()[first : stop + 1]):
            yield list(zip(indices[begin:end], seeds[begin:end], strict=True))

    def shares(self, class_weights: np.ndarray) -> Iterator[tuple[int, list[float]]]:
        """For each step from `first_step` on, its number of draws, and the share of each of its own batches.

        Args:
            class_weights: (classes,), of the loss; see `Division.shares`.
        """
        weights = class_weights[self._labels[self.draw()[0]]]
        for begin, end in itertools.pairwise(self._bounds()[self.first_step :]):
            yield end - begin, self._division.shares(weights[begin:end])

    def _bounds(self) -> list[int]:
        return [*self._starts(), self.epoch_size]


def _indices_by_class(labels: Sequence[int]) -> list[np.ndarray]:
    array = np.asarray(labels)
    return [np.flatnonzero(array == label) for label in range(int(array.max()) + 1)]


class TrainingImages(Dataset[tuple[torch.Tensor, int, torch.Tensor]]):
    """Training images, randomly cropped. An item's key is a `Draw`.

    An item is the bytes (3, side, side), the label, and the parameters of `augment` for it.
    """

    def __init__(self, split: Split, img_size: int, cache: ImageCache | None = None):
        self._pictures = ShrunkPictures(split.paths, img_size, cache)
        self._labels = split.labels
        self._img_size = img_size

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, key: Draw) -> tuple[torch.Tensor, int, torch.Tensor]:
        index, seed = key
        # What is drawn depends on the picture's own seed, not on which worker happens to draw it.
        generator = np.random.default_rng(seed)
        picture = self._pictures[index]
        box = draw_crop(generator, picture.shape[2], picture.shape[1])
        parameters = torch.from_numpy(draw_parameters(generator))
        return crop(picture, box, self._img_size), self._labels[index], parameters


def training_loader(
    split: Split,
    draws: WeightedDraws,
    *,
    img_size: int,
    workers: int,
    pin_memory: bool,
    runtime: Runtime,
    cache: ImageCache | None = None,
) -> DataLoader[Any]:
    """Batches of one epoch's draws: bytes (n, 3, side, side), labels (n,) and parameters (n, 8)."""
    return DataLoader(
        TrainingImages(split, img_size, cache),
        batch_sampler=draws,
        num_workers=workers,
        pin_memory=pin_memory and runtime.device.type == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=outlive_signals,
        generator=_generator(),
    )


def _generator() -> torch.Generator:
    # Loaders draw a seed for their workers. From the global generator that would change the model's own draws
    # (dropout) with the number of loaders made, and a resumed run would differ from one that never stopped.
    return torch.Generator().manual_seed(0)
