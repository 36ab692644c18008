"""Mixup and CutMix of neighbouring images of a batch.

Images 0 and 1, 2 and 3, … are mixed with each other. Draws are independent, so neighbours are as good as any
other partners. Because no pair is ever split, several processes train exactly as one. The parameters come
from the generator of each drawn image, so that a resumed run repeats them.

Sources: Zhang et al., *mixup: Beyond Empirical Risk Minimization*, ICLR 2018; Yun et al., *CutMix:
Regularization Strategy to Train Strong Classifiers with Localizable Features*, ICCV 2019.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Columns of an image's mixing parameters: its own share, 1 for CutMix or 0 for mixup, and the centre of
# CutMix's box as a fraction of the width and height.
SHARE, CUT, CENTRE_X, CENTRE_Y = range(4)


@dataclass(frozen=True)
class MixedTargets:
    """The second label of each image of a mixed batch."""

    partners: torch.Tensor
    """(n,): the label of the image that was mixed in."""
    shares: torch.Tensor
    """(n,): the share of the image's own label, in [0, 1]."""


def draw_mixing(generator: np.random.Generator, mixup: float, cutmix: float) -> NDArray[np.float32]:
    """Draw the parameters of one image, (4,): the share is from Beta(a, a), a = `mixup` or `cutmix`.

    With both above 0, each is used half of the time.
    """
    cut = cutmix > 0 and (mixup == 0 or generator.random() < 0.5)
    alpha = cutmix if cut else mixup
    return np.array([generator.beta(alpha, alpha), cut, *generator.random(2)], dtype=np.float32)


def mix(images: torch.Tensor, targets: torch.Tensor, parameters: torch.Tensor) -> MixedTargets:
    """Mix each pair of images (n, 3, side, side), floats, in place; the last of an odd number stays as it is.

    The parameters (n, 4) are in host memory; each pair takes those of its first image.
    """
    partners, shares = targets.clone(), torch.ones(len(images))
    for first in range(0, len(images) - 1, 2):
        pair = images[first : first + 2]
        share, cut, x, y = parameters[first].tolist()
        if cut:
            rows, columns = _box(share, x, y, images.shape[-1])
            pair[:, :, rows, columns] = pair[:, :, rows, columns].flip(0)
            share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / pair[0, 0].numel()
        else:
            pair.lerp_(pair.flip(0), 1 - share)
        partners[first : first + 2] = targets[first : first + 2].flip(0)
        shares[first : first + 2] = share
    # On MPS, a non-blocking copy may read memory that was already freed (pytorch#139550).
    return MixedTargets(partners, shares.to(images.device, non_blocking=images.device.type == "cuda"))


def _box(share: float, x: float, y: float, side: int) -> tuple[slice, slice]:
    """The rows and columns of a box of area 1 - `share`, cut off at the border."""
    half = int(0.5 * math.sqrt(1 - share) * side)
    across, down = int(x * side), int(y * side)
    rows = slice(max(down - half, 0), min(down + half, side))
    return rows, slice(max(across - half, 0), min(across + half, side))
