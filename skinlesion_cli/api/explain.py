"""`explain`: class-activation maps of photographs, as arrays and as figures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.common.tables import html_picture, html_text
from skinlesion_cli.common.text import probability_text
from skinlesion_cli.data.thumbnail import data_uri
from skinlesion_cli.inference.inputs import ImageInput, image_name, is_single, pixels_of
from skinlesion_cli.inference.prediction import Failure
from skinlesion_cli.inference.predictor import Predictor, load_predictor
from skinlesion_cli.metrics.arrays import number
from skinlesion_cli.report.heatmaps import ALPHA
from skinlesion_cli.saliency import explanation
from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD
from skinlesion_cli.saliency.ensemble import explain_ensemble


@dataclass(frozen=True)
class Explanation(explanation.Explanation):
    """The class-activation map of one photograph for one class."""

    source: str = ""
    """The photograph's path, or `image N` if it was given as pixels."""

    def to_dict(self) -> dict[str, Any]:
        """The explanation as `gradcam --json` prints it, without the names of files."""
        document = {
            "image": self.source,
            "class": self.label,
            "confidence": self.confidence,
            "method": self.method,
            "layer": self.layer,
            "grid": list(self.grid),
            "frame": list(astuple(self.frame)),
        }
        if self.faithfulness is not None:
            document["faithfulness"] = {name: number(area) for name, area in vars(self.faithfulness).items()}
        return document

    def overlay(self, alpha: float = ALPHA, *, smooth: bool = False) -> Image.Image:
        """The photograph at its own size, under the map.

        Args:
            alpha: opacity between the lines of the map, in [0, 1].
            smooth: whether to interpolate between the cells of the map.
        """
        from skinlesion_cli.report.heatmaps.thumbnails import heat_pictures

        return heat_pictures(self, alpha=alpha, smooth=smooth, side=max(self.image.size))[1]

    def _repr_html_(self) -> str:
        from skinlesion_cli.report.heatmaps.thumbnails import heat_pictures

        name = f"{self.label} {probability_text(self.confidence)}, {self.method}: {self.source}"
        return f"{html_picture(data_uri(heat_pictures(self)[1]), name)}<p>{html_text(name)}</p>"

    def save(self, path: str | Path, *, alpha: float = ALPHA, smooth: bool = False) -> None:
        """Draw the photograph, and beside it the photograph under the map.

        Args:
            path: a .png, .jpg, .pdf or .svg file.
            alpha: opacity between the lines of the map, in [0, 1].
            smooth: whether to interpolate between the cells of the map.
        """
        from skinlesion_cli.report.heatmaps.overlay import draw_overlay

        draw_overlay([self], Path(path), alpha=alpha, smooth=smooth, name=Path(self.source).name)


def explain(
    checkpoint: str | Path | Predictor,
    images: ImageInput | Iterable[ImageInput],
    *,
    classes: str | Sequence[str] | None = None,
    top: int = 1,
    method: str = DEFAULT_METHOD,
    layer: str | None = None,
    faithfulness: bool = False,
    on_event: OnEvent = ignore,
) -> list[Explanation]:
    """Compute class-activation maps: which parts of photographs are evidence for a class.

    Args:
        checkpoint: a trained model's file, an .onnx of `export --cam`, or a predictor, such as an `Ensemble`.
        images: one or many, each a path, a PIL image, or an array (height, width, 3) of uint8.
        classes: the classes to explain; default: the most probable ones.
        top: how many of the most probable classes to explain, in descending order.
        method: how the map is computed: gradcam, gradcam++, hirescam or layercam; for an .onnx, gradcam or
            hirescam, which are the same there.
        layer: name of the module whose output is mapped; default: the last spatial layer.
        faithfulness: whether to measure the faithfulness of each map, with about 260 additional forward
            passes.
        on_event: receives progress events.

    Returns:
        One explanation per image and class, in this order.

    Raises:
        InputError: an invalid argument, checkpoint or layer.
        UnreadableImageError: an image cannot be read.
        SkinLesionError: the class does not depend on the layer's output, or the output is not finite.
    """
    predictor = checkpoint if isinstance(checkpoint, Predictor) else load_predictor(checkpoint)
    single = is_single(images)
    inputs: list[Any] = [images] if single else list(images)  # type: ignore[arg-type]
    chosen = (classes,) if isinstance(classes, str) else tuple(classes or ())
    found: list[Explanation] = []
    results = explain_each(
        predictor, inputs, labels=chosen, top=top, method=method, layer=layer, measured=faithfulness
    )
    for done, result in enumerate(results, start=1):
        if isinstance(result, Failure):
            raise UnreadableImageError(result.error)
        found += result
        on_event(ImagesDone("explaining", done, len(inputs)))
    return found


def explain_each(
    predictor: Predictor, images: Sequence[ImageInput], **options: Any
) -> Iterator[list[Explanation] | Failure]:
    """Yield each image's explanations, or why it could not be read; `options` of `explain_classes`."""
    explain_one = explain_ensemble if len(predictor.members) > 1 else explanation.explain_classes
    for index, image in enumerate(images):
        name = image_name(index, image)
        try:
            found = explain_one(predictor, pixels_of(image, name), **options)
        except UnreadableImageError as error:
            yield Failure(name, str(error))
        else:
            yield [Explanation(**vars(one), source=name) for one in found]
