"""`skinlesion predict`."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.text import Text

from skinlesion_cli.cli import console
from skinlesion_cli.cli.layout import Table
from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import (
    IMAGES,
    MIN_CONFIDENCE,
    JsonOption,
    PriorOption,
    TtaOption,
    option,
    with_settings,
)
from skinlesion_cli.cli.progress import Display
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import ensure_writable_file
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.text import printable
from skinlesion_cli.report.figures import probability_text

if TYPE_CHECKING:
    from skinlesion_cli.inference.predictor import Failure, Prediction

BAR_WIDTH = 24
PAGE = 500  # images per table
_COLUMNS = "Columns of --csv: the model's classes, or those that ISIC challenges score."
_FORMAT = option("--format", _COLUMNS, "classes|isic")


@with_settings("batch_size", "num_workers", "device", "precision")
def predict(
    *,
    settings: Settings,
    model: ModelChoice,
    images: Annotated[list[str], IMAGES],
    top: Annotated[int, option("--top", "Classes to show per image.", "K", min=1)] = 3,
    min_confidence: Annotated[float, MIN_CONFIDENCE] = 0.0,
    tta: TtaOption = False,
    prior: PriorOption = None,
    json: JsonOption = False,
    csv: Annotated[Path | None, option("--csv", "Also write a CSV file.", "FILE")] = None,
    csv_format: Annotated[str, _FORMAT] = "classes",
) -> int:
    """Predict the class of images."""
    from skinlesion_cli.data.find_images import find_images
    from skinlesion_cli.inference.isic import isic_columns, require_distinct_images, write_isic
    from skinlesion_cli.metrics.predictions import DISTANCE, FOREIGN, write_rows

    if csv_format not in ("classes", "isic") or (csv_format == "isic" and csv is None):
        raise InputError("--format is classes or isic, and isic goes with --csv FILE")
    paths = find_images(images, Display().show)
    if csv_format == "isic":
        require_distinct_images(paths)
    if csv is not None:
        inputs = (*paths, *model.files())
        ensure_writable_file(csv, ".csv", inputs=inputs, option="--csv")
    predictor = model.load(settings, prior=prior)
    columns = isic_columns(predictor.classes, Display().show) if csv_format == "isic" else None
    with Display() as display:
        shown = _Json(min_confidence) if json else _Tables(top, min_confidence, display)
        results = predictor.predict_many(paths, flips=tta, on_event=display.show)
        predictions = _shown(results, shown)
        if csv is not None and columns is not None:
            write_isic(csv, columns, predictions)
        elif csv is not None:
            rows = ((one.image, "", one.label, one.values()) for one in predictions)
            write_rows(csv, (*predictor.classes, FOREIGN, DISTANCE), rows)
        else:
            deque(predictions, maxlen=0)
        shown.end()
    if csv is not None:
        console.note(f"{len(paths) - shown.failures} predictions: {csv}")
    console.note(console.DISCLAIMER)
    return 1 if shown.failures else 0


def _shown(results: "Iterable[Prediction | Failure]", shown: "_Json | _Tables") -> "Iterator[Prediction]":
    """Show each result as it comes, and pass on the predictions; none is kept."""
    from skinlesion_cli.inference.predictor import Failure

    for result in results:
        shown.add(result)
        if isinstance(result, Failure):
            shown.failures += 1
            console.warn(result.error)
            continue
        if result.out_of_distribution:
            console.warn(f"{result.image} is unlike the training images: its prediction is unreliable")
        yield result


@dataclass
class _Json:
    """Results as one JSON list."""

    min_confidence: float
    items: console.JsonList = field(default_factory=console.JsonList)
    failures: int = 0

    def add(self, result: "Prediction | Failure") -> None:
        document = result.to_dict()
        if self.min_confidence > 0 and "confidence" in document:
            document["uncertain"] = document["confidence"] < self.min_confidence
        self.items.add(document)

    def end(self) -> None:
        self.items.end()


@dataclass
class _Tables:
    """Predictions as tables of some hundred rows, so that memory does not grow with the number of images."""

    top: int
    min_confidence: float
    display: Display
    page: "list[Prediction]" = field(default_factory=list)
    header: bool = True
    failures: int = 0

    def add(self, result: "Prediction | Failure") -> None:
        from skinlesion_cli.inference.predictor import Prediction

        if isinstance(result, Prediction):
            self.page.append(result)
        if len(self.page) == PAGE:
            self.end()

    def end(self) -> None:
        if self.page:
            with self.display.aside():
                console.out.print(_table(self.page, self.top, self.min_confidence, header=self.header))
            self.page, self.header = [], False


def _table(predictions: "list[Prediction]", top: int, min_confidence: float, *, header: bool) -> Table:
    rows, bars = [], []
    for prediction in predictions:
        for rank, (name, probability) in enumerate(prediction.top(top)):
            label = printable(name)
            if rank == 0 and prediction.confidence < min_confidence:
                label += " (uncertain)"
            image = printable(prediction.image) if rank == 0 else ""
            rows.append((image, Text(label, "dim" if rank else "bold"), probability_text(probability)))
            bars.append(Text("█" * round(probability * BAR_WIDTH), "dim" if rank else "cyan"))
    return Table(("Image", "Class", "Probability"), rows, left=(0, 1), bars=bars, header=header)
