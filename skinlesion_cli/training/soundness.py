"""Seeing to it that training stops before a broken model replaces a good checkpoint."""

import torch
from torch import nn

from skinlesion_cli.common.errors import SkinLesionError, TrainingError, first_few
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.splits import Split
from skinlesion_cli.training.monitor import EpochSums
from skinlesion_cli.training.sampler import WeightedDraws

FILES_NAMED = 64
"""Images that the message names at most."""


class Soundness:
    """Looks at the loss and the weights, and knows which images came since it last found them sound."""

    def __init__(self, draws: WeightedDraws, train: Split, world: World = ALONE):
        """Args: the draws, of the epoch that is under way; the split that they are drawn from; who trains."""
        self._draws, self._train, self._world = draws, train, world
        self._sound_step = 0

    def begin(self, step: int) -> None:
        """The epoch begins, or goes on after this step."""
        self._sound_step = step

    def require_loss(self, sums: EpochSums, step: int) -> None:
        """Look at the loss after a step.

        Raises:
            TrainingError: it is no longer finite.
        """
        if not sums.sound:
            raise self._fault(f"the loss became {sums.loss}", step)
        self._sound_step = step

    def require_weights(self, model: nn.Module, step: int) -> None:
        """Look at the weights after a step. This waits for the device.

        Raises:
            TrainingError: one is no longer finite.
        """
        if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
            raise self._fault("weights became infinite or undefined", step)

    def _fault(self, what: str, step: int) -> SkinLesionError:
        # A finite loss says that the weights were sound before its step.
        batches = self._draws.batches(max(0, min(self._sound_step, step - 1)), step)
        files = {str(self._train.files[index]): None for batch in batches for index, _ in batch}
        error = TrainingError(
            f"{what} in epoch {self._draws.epoch} by step {step}, which saw "
            f"{first_few(list(files), FILES_NAMED)}; the last good checkpoint is kept: "
            "lower --learning-rate, or use --precision fp32"
        )
        # Loss and weights are those of all processes.
        return self._world.common(error)
