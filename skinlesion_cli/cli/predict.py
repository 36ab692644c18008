"""`skinlesion predict`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import JsonOption, ModelChoice, with_settings
from skinlesion_cli.core.settings import Settings

BAR_WIDTH = 24
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
    json: JsonOption = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write a predictions CSV.")
    ] = None,
) -> int:
    """Predict the class of photographs."""
    from skinlesion_cli.core.files import ensure_writable_file
    from skinlesion_cli.core.folders import find_images

    paths = find_images(images)
    if csv is not None:
        ensure_writable_file(csv)
    model.require_file()

    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.core.predictor import Failure, Prediction, as_predictions

    predictor = model.load(settings)
    with Display() as display:
        results = list(predictor.predict_many(paths, on_event=display.show))
    answers = [result for result in results if isinstance(result, Prediction)]
    failures = [result for result in results if isinstance(result, Failure)]
    for failure in failures:
        console.warn(failure.error)
    if csv is not None:
        from skinlesion_cli.core.predictions import write_predictions

        write_predictions(csv, as_predictions(answers, predictor.classes))
        console.note(f"{len(answers)} predictions: {csv}")
    if json:
        console.print_json([_document(result) for result in results])
    elif answers:
        console.out.print(_table(answers, top))
    console.note(DISCLAIMER)
    return 1 if failures else 0


def _document(result: Any) -> dict[str, Any]:
    error = getattr(result, "error", None)
    if error is not None:
        return {"image": result.image, "error": error}
    return {
        "image": result.image,
        "class": result.label,
        "confidence": result.confidence,
        "probabilities": result.probabilities,
    }


def _table(answers: list[Any], top: int) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Image", overflow="fold")
    table.add_column("Class")
    table.add_column("Probability", justify="right")
    table.add_column("", width=BAR_WIDTH)
    for answer in answers:
        for rank, (name, probability) in enumerate(answer.top(top)):
            style = "bold" if rank == 0 else "dim"
            image = Text(console.printable(answer.image) if rank == 0 else "")
            bar = Text("█" * round(probability * BAR_WIDTH), style="cyan" if rank == 0 else "dim")
            table.add_row(image, Text(console.printable(name), style=style), f"{probability:.1%}", bar)
    return table
