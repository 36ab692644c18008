"""Running a torch model on any device and in any precision."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.common.errors import SkinLesionError, lacks_memory, one_line
from skinlesion_cli.data.augment import normalize
from skinlesion_cli.inference.backend import Outputs
from skinlesion_cli.models.backbone import statistics_of
from skinlesion_cli.models.bn_folding import folded
from skinlesion_cli.models.checkpoint import Checkpoint
from skinlesion_cli.models.device import Runtime
from skinlesion_cli.models.model_info import Preprocessing
from skinlesion_cli.models.ood import OodDetector

IMAGES_A_CORE = 8
"""Images per CPU core and forward pass: on two cores `mobilevitv2_100` ran 32 images/s in batches of 2, 35 of
4 and 37 of 16, and memory grows with them."""


class TorchBackend:
    """A model in evaluation mode on the runtime's device."""

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        runtime: Runtime,
        *,
        novelty: OodDetector | None = None,
        frozen: bool = False,
    ):
        """Put the model into evaluation mode; if its weights are `frozen`, a faster copy may be used."""
        self.model, self.preprocessing, self.runtime = model.eval(), preprocessing, runtime
        self.img_size, self.resize = preprocessing.img_size, preprocessing.resize
        self.novelty, self._frozen = novelty, frozen
        self._faster: nn.Module | None = None

    def outputs(self, images: NDArray[np.uint8]) -> Outputs:
        """Run the model on a batch of bytes (n, 3, img_size, img_size)."""
        pixels = torch.from_numpy(images)
        if self.novelty is None:
            return Outputs(self.logits(pixels).cpu().numpy())
        features, logits = self.features(pixels, self.novelty.levels)
        return Outputs(logits.cpu().numpy(), self.novelty.distances(features.cpu().numpy()))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, only this thread runs the model, configured for the runtime; errors give its input size.

        Any code that calls the model directly must do so inside.
        """
        with self.runtime.alone():
            try:
                yield
            except (RuntimeError, TypeError, ValueError, AssertionError, LookupError, MemoryError) as error:
                # Training reports its own errors, and has already tried its size.
                if not self._frozen:
                    raise
                if lacks_memory(error):
                    fault = f"out of memory on images of {self.img_size} pixels"
                    raise SkinLesionError(
                        f"{fault}: use a smaller --batch-size, or another --device"
                    ) from error
                # A file may lack its input size.
                size = f"images of {self.img_size} pixels, which may be the wrong --img-size"
                raise SkinLesionError(f"the model fails on {size}: {one_line(error)}") from error

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """The model's input: a batch of bytes on the device, channels last, normalised."""
        return normalize(self.runtime.put(images), self.preprocessing.mean, self.preprocessing.std)

    @torch.inference_mode()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes), float32 on the device, of a batch of bytes (n, 3, img_size, img_size)."""
        return self._in_pieces(lambda model, inputs: (model(inputs),), images)[0]

    @torch.inference_mode()
    def features(self, images: torch.Tensor, levels: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, d) as of `statistics_of`, and logits (n, classes), of a batch as in `logits`."""
        features, logits = self._in_pieces(lambda model, inputs: statistics_of(model, inputs, levels), images)
        return features, logits

    def _in_pieces(
        self, forward: Callable[[nn.Module, torch.Tensor], tuple[torch.Tensor, ...]], images: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        on_cpu = self.runtime.device.type == "cpu"
        size = IMAGES_A_CORE * torch.get_num_threads() if on_cpu else len(images)
        pieces = []
        with self.running():
            model = self._fastest(len(images))
            for part in torch.split(images, size):
                inputs = self.inputs(part)
                with self.runtime.autocast():
                    pieces.append(forward(model, inputs))
        return tuple(torch.cat(parts).float() for parts in zip(*pieces, strict=True))

    def _fastest(self, images: int) -> nn.Module:
        """The model, or its faster copy, which takes as long to create as predicting some images."""
        if self._frozen and self._faster is None and images > 1:
            self._faster = folded(self.model, self.img_size)
        return self._faster or self.model


def backend_of(checkpoint: Checkpoint, runtime: Runtime) -> TorchBackend:
    """Build a checkpoint's model on the runtime's device."""
    model = checkpoint.build().to(runtime.device).to(memory_format=torch.channels_last)
    return TorchBackend(model, checkpoint.preprocessing, runtime, novelty=checkpoint.novelty, frozen=True)
