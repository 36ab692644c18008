"""`skinlesion predict`."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from skinlesion_cli.cli import console
from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import JsonOption, TtaOption, with_settings
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.report.figures import probability_text

if TYPE_CHECKING:
    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.inference.predictor import Failure, Prediction

BAR_WIDTH = 24
PAGE = 500
"""Images a table."""
DISCLAIMER = "a research tool, not a medical device: do not diagnose with it"


@with_settings("batch_size", "num_workers", "device", "precision", model=True)
def predict(
    *,
    settings: Settings,
    model: ModelChoice,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Files, folders or globs.")],
    top: Annotated[
        int, typer.Option("--top", min=1, metavar="K", help="Classes to show for each image.")
    ] = 3,
    min_confidence: Annotated[
        float,
        typer.Option(
            "--min-confidence",
            metavar="NUMBER",
            min=0.0,
            max=1.0,
            help="Call answers of a lower probability uncertain. Default: none.",
            show_default=False,
        ),
    ] = 0.0,
    tta: TtaOption = False,
    json: JsonOption = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write a predictions CSV.")
    ] = None,
) -> int:
    """Predict the class of photographs."""
    from skinlesion_cli.common.files import ensure_writable_file
    from skinlesion_cli.data.splits import find_images

    paths = find_images(images)
    if csv is not None:
        ensure_writable_file(csv)
    model.require_file()

    from skinlesion_cli.cli.progress import Display

    predictor = model.load(settings)
    with Display() as display:
        shown = _Json(min_confidence) if json else _Tables(top, min_confidence, display)
        results = predictor.predict_many(paths, flips=tta, on_event=display.show)
        answers = _told(results, shown)
        if csv is not None:
            from skinlesion_cli.metrics.predictions import write_rows

            write_rows(csv, predictor.classes, _rows(answers))
        else:
            deque(answers, maxlen=0)
        shown.end()
    if csv is not None:
        console.note(f"{len(paths) - shown.failures} predictions: {csv}")
    console.note(DISCLAIMER)
    return 1 if shown.failures else 0


def _told(results: "Iterable[Prediction | Failure]", shown: "_Json | _Tables") -> "Iterator[Prediction]":
    """Pass the answers on as they come; each result is shown, and none is kept."""
    from skinlesion_cli.inference.predictor import Failure

    for result in results:
        if isinstance(result, Failure):
            shown.add_failure(result)
            console.warn(result.error)
            continue
        shown.add(result)
        if result.unfamiliar:
            console.warn(f"{result.image} is unlike the training images: its answer may mean nothing")
        yield result


def _rows(answers: "Iterable[Prediction]") -> Iterator[tuple[str, str, str, list[float]]]:
    for answer in answers:
        yield answer.image, "", answer.label, list(answer.probabilities.values())


class _Json:
    """Results as one JSON list."""

    def __init__(self, min_confidence: float) -> None:
        self.failures = 0
        self._min_confidence = min_confidence
        self._list = console.JsonList()

    def add(self, answer: "Prediction") -> None:
        self._list.add(_document(answer, self._min_confidence))

    def add_failure(self, failure: "Failure") -> None:
        self.failures += 1
        self._list.add({"image": failure.image, "error": failure.error})

    def end(self) -> None:
        self._list.end()


class _Tables:
    """Answers as tables of some hundred rows, so that memory does not grow with the number of images."""

    def __init__(self, top: int, min_confidence: float, display: "Display"):
        self.failures = 0
        self._top, self._min_confidence, self._display = top, min_confidence, display
        self._page: list[Prediction] = []
        self._header = True

    def add(self, answer: "Prediction") -> None:
        self._page.append(answer)
        if len(self._page) == PAGE:
            self.end()

    def add_failure(self, _: "Failure") -> None:
        self.failures += 1

    def end(self) -> None:
        if self._page:
            with self._display.aside():
                table = _table(self._page, self._top, self._min_confidence, header=self._header)
                console.out.print(table)
            self._page, self._header = [], False


def _document(answer: "Prediction", min_confidence: float) -> dict[str, Any]:
    document: dict[str, Any] = {
        "image": answer.image,
        "class": answer.label,
        "confidence": answer.confidence,
        "probabilities": answer.probabilities,
    }
    # Only where there is something to say: most readers of this list know the four keys above.
    if min_confidence > 0:
        document["uncertain"] = answer.confidence < min_confidence
    if answer.unfamiliar:
        document["unfamiliar"] = True
    return document


def _table(answers: "list[Prediction]", top: int, min_confidence: float, *, header: bool) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, show_header=header)
    table.add_column("Image", overflow="fold")
    table.add_column("Class")
    table.add_column("Probability", justify="right")
    table.add_column("", width=BAR_WIDTH)
    for answer in answers:
        for rank, (name, probability) in enumerate(answer.top(top)):
            style = "bold" if rank == 0 else "dim"
            image = Text(console.printable(answer.image) if rank == 0 else "")
            bar = Text("█" * round(probability * BAR_WIDTH), style="cyan" if rank == 0 else "dim")
            label = Text(console.printable(name), style=style)
            if rank == 0 and answer.confidence < min_confidence:
                label.append(" (uncertain)", style="yellow")
            table.add_row(image, label, probability_text(probability), bar)
    return table
