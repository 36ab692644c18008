"""The pipelines that this package is compared with, and synthetic images for all of them."""

from collections.abc import Iterator
from pathlib import Path

import timm.data
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, WeightedRandomSampler
from torchvision import datasets, transforms

from skinlesion_cli.curation.synthetic import KINDS, draw_lesion

SIDE, BATCH, WORKERS = 256, 32, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Batches = DataLoader[tuple[torch.Tensor, torch.Tensor]]


def draw_images(folder: Path, train: int, test: int) -> None:
    """Synthetic 600 × 450 JPEGs in two classes, as train, val and test."""
    for name, number in (("train", train), ("val", 40), ("test", test)):
        for index in range(number):
            target = folder / name / f"class {index % 2}"
            target.mkdir(parents=True, exist_ok=True)
            kind = list(KINDS)[index % len(KINDS)]
            image = draw_lesion(kind, index).resize((600, 450), Image.Resampling.BICUBIC)
            image.save(target / f"{index}.jpg", quality=90)


def published_transform(side: int = SIDE) -> transforms.Compose:
    """The published augmentation, without the conversion to a tensor."""
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(side, scale=(0.7, 1.0), ratio=(0.9, 1.1)),
            transforms.RandomHorizontalFlip(0.5),
            transforms.RandomVerticalFlip(0.2),
            transforms.ColorJitter(0.1, 0.1, 0.1, 0.05),
            transforms.RandomRotation(15),
        ]
    )


def published_loader(
    folder: Path, side: int = SIDE, batch: int = BATCH, workers: int = WORKERS, *, pinned: bool = False
) -> Batches:
    """The published training pipeline: ImageFolder, PIL transforms, ToTensor, float32 batches."""
    steps = [published_transform(side), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    images = datasets.ImageFolder(str(folder / "train"), transforms.Compose(steps))
    draws = WeightedRandomSampler([1.0] * len(images), round(1.5 * len(images)))
    return DataLoader(
        images, batch, sampler=draws, num_workers=workers, persistent_workers=True, pin_memory=pinned
    )


def timm_loader(
    folder: Path, side: int = SIDE, batch: int = BATCH, workers: int = WORKERS, *, device: str = "cpu"
) -> Batches:
    """timm's own training pipeline, with its defaults; its prefetcher is for CUDA only."""
    images = timm.data.create_dataset("", root=str(folder), split="train", is_training=True)
    loader: Batches = timm.data.create_loader(
        images,
        (3, side, side),
        batch,
        is_training=True,
        use_prefetcher=device == "cuda",
        pin_memory=device == "cuda",
        device=torch.device(device),
        num_workers=workers,
        persistent_workers=True,
        mean=MEAN,
        std=STD,
    )
    return loader


def endless(loader: Batches) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of one epoch after another, without end."""
    while True:
        yield from loader


def timm_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that timm's training script makes for `--opt adamw`."""
    import timm.optim

    optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(model, "adamw", lr=3e-4)
    return optimizer
