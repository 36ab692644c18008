"""A torch model as what computes probabilities, on any device and in any precision."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.core.augment import normalize
from skinlesion_cli.core.checkpoint import Checkpoint
from skinlesion_cli.core.description import Preprocessing
from skinlesion_cli.core.runtime import Runtime


class TorchBackend:
    """A model in evaluation mode on the runtime's device."""

    def __init__(self, model: nn.Module, preprocessing: Preprocessing, runtime: Runtime):
        """Take a model that lies on the runtime's device.

        It is put into evaluation mode, and left there.
        """
        self.model = model.eval()
        self.preprocessing = preprocessing
        self.runtime = runtime

    @property
    def img_size(self) -> int:
        """Side of the images that the model takes, in pixels."""
        return self.preprocessing.img_size

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities (n, classes) of a batch of bytes (n, 3, img_size, img_size); each row sums to 1."""
        logits = self.logits(torch.from_numpy(images))
        # In float64 a very small probability does not become 0, whose loss would be infinite.
        values: NDArray[np.float64] = torch.softmax(logits.cpu().double(), dim=1).numpy()
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
        inputs = self.inputs(images)
        with self.runtime.autocast():
            logits: torch.Tensor = self.model(inputs)
        return logits.float()


def backend_of(checkpoint: Checkpoint, runtime: Runtime) -> TorchBackend:
    """Build a checkpoint's model on the runtime's device.

    Raises:
        InputError: the weights do not fit the architecture and the number of classes.
    """
    model = checkpoint.build().to(runtime.device)
    return TorchBackend(model.to(memory_format=torch.channels_last), checkpoint.preprocessing, runtime)
