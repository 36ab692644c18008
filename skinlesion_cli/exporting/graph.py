"""The exported graph, from pixels to logits, and its metadata."""

from typing import Any

import torch
from torch import nn

from skinlesion_cli.common.files import EXPORT_MARK
from skinlesion_cli.exporting.class_maps import ClassMapper
from skinlesion_cli.models.backbone import pass_of
from skinlesion_cli.models.checkpoint import Checkpoint, versions
from skinlesion_cli.models.ood import OodDetector


class BytesToLogits(nn.Module):
    """A classifier that normalises its input; with a detector or a mapper, it has more outputs."""

    mean: torch.Tensor
    std: torch.Tensor
    centre: torch.Tensor
    directions: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        model: nn.Module,
        checkpoint: Checkpoint,
        detector: OodDetector | None = None,
        mapper: ClassMapper | None = None,
    ):
        super().__init__()
        self.model, self.temperature, self.mapper = model, checkpoint.temperature, mapper
        self.register_buffer("mean", torch.tensor(checkpoint.preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(checkpoint.preprocessing.std).view(1, 3, 1, 1))
        self.noise = None if detector is None else detector.noise
        self.levels = 0 if detector is None else detector.levels
        if detector is not None:
            self.register_buffer("centre", torch.from_numpy(detector.mean))
            self.register_buffer("directions", torch.from_numpy(detector.directions))
            self.register_buffer("scale", torch.from_numpy(detector.scale))

    def forward(self, image: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """For uint8 views (n, 3, side, side): calibrated logits (n, classes), alone or in a tuple.

        With a detector, distances (n,) follow; with a mapper, maps (n, classes, rows, columns).
        """
        inputs = (image.float() / 255.0 - self.mean) / self.std
        if self.noise is None and self.mapper is None:
            return self.model(inputs) / self.temperature  # type: ignore[no-any-return]
        features, logits, final = pass_of(self.model, inputs, self.levels)
        outputs = [logits / self.temperature]
        if self.noise is not None:
            centred = (features - self.centre) / self.scale
            along = (centred @ self.directions).square().sum(dim=1)
            squared = centred.square().sum(dim=1) / self.noise - along
            outputs.append((squared.clamp_min(0.0) / centred.shape[1]).sqrt())
        if self.mapper is not None:
            outputs.append(self.mapper(final) / self.temperature)
        return tuple(outputs)


def metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    """The metadata of the file, as plain data."""
    return {"format": EXPORT_MARK, **checkpoint.plain(), "versions": versions(), "precision": "fp32"}


def example(checkpoint: Checkpoint, n: int = 2) -> torch.Tensor:
    """Views (n, 3, side, side) for tracing; from a single one, torch would conclude that n is always 1."""
    side = checkpoint.preprocessing.img_size
    return torch.zeros(n, 3, side, side, dtype=torch.uint8)
