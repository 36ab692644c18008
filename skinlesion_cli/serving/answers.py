"""Responses to photographs: the item of `predict --json`, and images of what the model saw."""

import base64
import io
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from skinlesion_cli.common.errors import SkinLesionError, UnreadableImageError
from skinlesion_cli.data.framing import fitted, seen_frame
from skinlesion_cli.data.images import read_image
from skinlesion_cli.inference.prediction import Failure
from skinlesion_cli.inference.predictor import Predictor
from skinlesion_cli.report.heatmaps.paint import painted
from skinlesion_cli.report.heatmaps.thumbnails import framed_photograph

PICTURES = ("photograph", "frame", "heat_map")
"""What a response may include besides the prediction."""
PHOTOGRAPH_SIDE, HEAT_SIDE = 480, 512
"""Pixels of the longer side of the whole photograph, and of the heat map."""


@dataclass(frozen=True)
class Answers:
    """A loaded model that predicts photographs in memory. Several threads may use it."""

    predictor: Predictor
    min_confidence: float = 0.0
    """Predictions with a lower probability are marked as uncertain."""
    flips: bool = False
    """Whether to average over flipped views (test-time augmentation)."""

    @cached_property
    def no_heat_map(self) -> str | None:
        """Why this model has no heat maps; None if it has. The first use also prepares the model."""
        grey = Image.new("RGB", (2 * self.predictor.backend.img_size,) * 2, "grey")
        try:
            self._heat_map(grey, self.predictor.predict(grey).label)
        except SkinLesionError as error:
            return self._without_folders(str(error))
        return None

    def _without_folders(self, text: str) -> str:
        # Clients on the network need not know where the model is stored.
        for file in filter(None, (one.file for one in self.predictor.members)):
            text = text.replace(str(file.absolute()), file.name).replace(str(file), file.name)
        return text

    def answer(self, name: str, content: bytes, include: Collection[str] = ()) -> dict[str, Any]:
        """The prediction for the bytes of an image file, as JSON.

        Args:
            name: the name of the photograph in the response and in messages; no file is opened.
            content: the file, in any format that `predict` reads.
            include: some of `PICTURES`, added under these keys, with pictures as base64 of a PNG.

        Raises:
            UnreadableImageError: it cannot be read.
            SkinLesionError: the model's outputs are not finite.
        """
        image = read_image(Path(name), file=io.BytesIO(content))
        # Decoded once, and the same pixels as `predict` reads from a file.
        (result,) = self.predictor.predict_many([image], flips=self.flips)
        if isinstance(result, Failure):
            raise UnreadableImageError(result.error)
        document = replace(result, image=name).to_dict(self.min_confidence)
        return document | self._pictures(image, result.label, include)

    def _pictures(self, image: Image.Image, label: str, include: Collection[str]) -> dict[str, Any]:
        backend, found = self.predictor.backend, dict[str, Any]()
        frame = seen_frame(image.size, backend.img_size, backend.resize)
        if "photograph" in include:
            framed, _ = framed_photograph(image, frame, PHOTOGRAPH_SIDE)
            found["photograph"] = {"width": image.width, "height": image.height, "png": _png(framed)}
        if "frame" in include:
            seen = fitted(image, backend.img_size, backend.resize)
            found["frame"] = vars(frame) | {"png": _png(seen)}
        if "heat_map" in include:
            reason = self.no_heat_map
            found["heat_map"] = {"error": reason} if reason else self._heat_map(image, label)
        return found

    def _heat_map(self, image: Image.Image, label: str) -> dict[str, Any]:
        # Later than at the import: for a .pth it imports torch.
        from skinlesion_cli.api.explain import explain_each

        (found,) = explain_each(self.predictor, [image], labels=[label])
        if isinstance(found, Failure):
            raise UnreadableImageError(found.error)
        (one,) = found
        return {
            "class": one.label,
            "method": one.method,
            "layer": one.layer,
            "grid": list(one.grid),
            "empty": not one.heat.any(),
            "png": _png(painted(one, (HEAT_SIDE, HEAT_SIDE))),
        }


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    # Fast compression: the network connection is short.
    picture.save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode()
