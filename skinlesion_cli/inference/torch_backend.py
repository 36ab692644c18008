"""A torch model as what computes probabilities, on any device and in any precision."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.data.augment import normalize
from skinlesion_cli.inference.backend import Answers
from skinlesion_cli.models.backbone import features_of
from skinlesion_cli.models.bn_folding import folded
from skinlesion_cli.models.checkpoint import Checkpoint
from skinlesion_cli.models.device import Runtime
from skinlesion_cli.models.model_info import Preprocessing
from skinlesion_cli.models.ood import OodDetector

IMAGES_A_CORE = 8
"""Images a CPU core works on at once: on two cores `mobilevitv2_100` saw 32 images/s in pieces of 2, 35 of 4,
37 of 16, and memory grows with them."""


class TorchBackend:
    """A model in evaluation mode on the runtime's device."""

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        runtime: Runtime,
        *,
        temperature: float = 1.0,
        novelty: OodDetector | None = None,
        frozen: bool = False,
    ):
        """Take a model that lies on the runtime's device.

        It is put into evaluation mode, and left there. `frozen` promises that its weights will not change, so
        that a faster copy may answer.
        """
        self.model = model.eval()
        self.preprocessing = preprocessing
        self.runtime = runtime
        self.temperature = temperature
        self.novelty = novelty
        self._frozen = frozen
        self._faster: nn.Module | None = None

    @property
    def img_size(self) -> int:
        """Side of the images that the model takes, in pixels."""
        return self.preprocessing.img_size

    def answers(self, images: NDArray[np.uint8]) -> Answers:
        """What the model says of a batch of bytes (n, 3, img_size, img_size)."""
        pixels = torch.from_numpy(images)
        if self.novelty is None:
            return Answers(self.probabilities_of(self.logits(pixels)))
        features, logits = self.features(pixels)
        return Answers(self.probabilities_of(logits), self.novelty.distances(features.cpu().numpy()))

    def probabilities_of(self, logits: torch.Tensor) -> NDArray[np.float64]:
        """Calibrated probabilities (n, classes) of logits; each row sums to 1."""
        # In float64 a very small probability does not become 0, whose loss would be infinite.
        scaled = logits.cpu().double() / self.temperature
        values: NDArray[np.float64] = torch.softmax(scaled, dim=1).numpy()
        return values

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """The model's input: a batch of bytes on the device, channels last, normalised."""
        self.runtime.activate()
        return normalize(self.runtime.put(images), self.preprocessing.mean, self.preprocessing.std)

    @torch.inference_mode()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of bytes.

        Args:
            images: (n, 3, img_size, img_size), uint8.

        Returns:
            (n, classes), float32, on the device.
        """
        (logits,) = self._in_pieces(lambda model, inputs: (model(inputs),), images)
        return logits

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, d) that the head sees, and logits (n, classes), of a batch as in `logits`."""
        seen, logits = self._in_pieces(features_of, images)
        return seen, logits

    def _in_pieces(
        self, answer: Callable[[nn.Module, torch.Tensor], tuple[torch.Tensor, ...]], images: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        on_cpu = self.runtime.device.type == "cpu"
        size = IMAGES_A_CORE * torch.get_num_threads() if on_cpu else len(images)
        model, pieces = self._answering(len(images)), []
        for part in torch.split(images, size):
            inputs = self.inputs(part)
            with self.runtime.autocast():
                pieces.append(answer(model, inputs))
        return tuple(torch.cat(parts).float() for parts in zip(*pieces, strict=True))

    def _answering(self, images: int) -> nn.Module:
        """The model, or its faster copy, which takes as long to make as some images to look at."""
        if self._frozen and self._faster is None and images > 1:
            self.runtime.activate()
            self._faster = folded(self.model, self.img_size)
        return self._faster or self.model


def backend_of(checkpoint: Checkpoint, runtime: Runtime) -> TorchBackend:
    """Build a checkpoint's model on the runtime's device.

    Raises:
        InputError: the weights do not fit the architecture and the number of classes.
    """
    model = checkpoint.build().to(runtime.device)
    return TorchBackend(
        model.to(memory_format=torch.channels_last),
        checkpoint.preprocessing,
        runtime,
        temperature=checkpoint.temperature,
        novelty=checkpoint.novelty,
        frozen=True,
    )
