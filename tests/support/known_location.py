"""A model whose evidence lies where everyone can see it: the bright pixels of a dark picture."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from skinlesion_cli.common.paper import Resize
from skinlesion_cli.inference.predictor import Predictor
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.models.model_info import Description, Preprocessing

SIDE = 64
CELL = 8
DARK = (0, 0, 120)


class BrightPixels(nn.Module):
    """ "blob" is the more probable, the more bright pixels there are."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.AvgPool2d(CELL)
        self.feature_info = [{"module": "cells"}]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        cells = self.cells(torch.relu(inputs.mean(dim=1, keepdim=True) - 0.6))
        logit = 400 * cells.mean(dim=(2, 3)) - 3
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def bright_pixels(temperature: float = 1.0, fit: str = "crop") -> Predictor:
    """The model as a predictor of the classes "none" and "blob"."""
    preprocessing = Preprocessing(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), Resize(fit=fit))
    runtime = choose_runtime("cpu", "auto", training=False)
    backend = TorchBackend(BrightPixels(), preprocessing, runtime)
    known = Description(
        arch="none", classes=("none", "blob"), preprocessing=preprocessing, temperature=temperature
    )
    return Predictor(known, backend, batch_size=8, workers=0)


def picture_with_blob(size: tuple[int, int], centre: tuple[float, float]) -> Image.Image:
    """A dark picture with one white disc around `centre`."""
    image = Image.new("RGB", size, DARK)
    x, y = centre
    radius = min(size) * 0.1
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill="white")
    return image


def panels_of(picture: Image.Image) -> list[tuple[int, int, int, int]]:
    """The rectangles (left, top, right, bottom) of the dark photographs that a picture shows side by side."""
    dark = (np.abs(np.asarray(picture.convert("RGB")).astype(int) - DARK) < 3).all(axis=2)
    columns = np.flatnonzero(dark.sum(axis=0) > 20)
    rows = np.flatnonzero(dark.sum(axis=1) > 20)
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    return [(int(run[0]), int(rows[0]), int(run[-1]) + 1, int(rows[-1]) + 1) for run in runs]
