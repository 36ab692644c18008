"""`skinlesion export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import filesize
from rich.table import Table

from skinlesion_cli.cli import console
from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import JsonOption, with_settings
from skinlesion_cli.common.settings import Settings

if TYPE_CHECKING:
    from skinlesion_cli.exporting.int8 import Quantized
    from skinlesion_cli.exporting.onnx import Exported, Pixels

CHECKED_IMAGES = 32
DRAWN_IMAGES = 8
FIGURES = {"accuracy": "Accuracy", "weighted_f1": "Weighted F1"}


@with_settings("num_workers", model=True)
def export(
    *,
    settings: Settings,
    model: ModelChoice,
    to: Annotated[
        Path, typer.Option("--to", metavar="FILE", help="What to write: a .onnx, or a .pt2 for torch.export.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "--images",
            metavar="DIR",
            help="Check the file on images of this folder. Default: on drawn ones.",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Quantise to 8 bits, calibrated on DATA/train and scored on DATA/val. Needs --data.",
        ),
    ] = False,
    json: JsonOption = False,
) -> int:
    """Write a checkpoint as .onnx or .pt2, checked against torch."""
    from skinlesion_cli.common.errors import InputError
    from skinlesion_cli.common.extras import require_writer
    from skinlesion_cli.common.files import ensure_writable_file
    from skinlesion_cli.data.splits import find_images, read_splits

    if to.suffix not in {".onnx", ".pt2"}:
        raise InputError(f"--to {to}: the file is a .onnx or a .pt2")
    if int8 and (data is None or to.suffix != ".onnx"):
        raise InputError("--int8 needs --data with train/ and val/, and writes a .onnx")
    splits = read_splits(data, ["train", "val"]) if int8 and data is not None else {}
    paths = splits["val"].paths if splits else find_images([str(data)]) if data is not None else []
    ensure_writable_file(to)
    model.require_file()
    model.require_weights("it is exported already: name the .pth that it was made from")

    require_writer(to.suffix)

    # Only now the seconds that torch takes.
    from skinlesion_cli.exporting.onnx import export as write

    checkpoint = model.load_checkpoint()
    pixels = _pixels(paths, checkpoint.preprocessing.img_size)
    if splits:
        from skinlesion_cli.cli.progress import Display
        from skinlesion_cli.data.workers import worker_count
        from skinlesion_cli.exporting.int8 import export_int8

        workers = worker_count(settings.num_workers)
        with Display() as display:
            quantized = export_int8(
                checkpoint, to, pixels, splits["train"], splits["val"], workers=workers, on_event=display.show
            )
        if json:
            console.print_json(_int8_document(quantized, to))
        else:
            console.out.print(_int8_table(quantized))
            console.say(f"{to}: calibrated on {quantized.calibrated} images of train, scored on val")
        return 0
    exported = write(checkpoint, to, pixels)
    if json:
        console.print_json(_document(exported))
    else:
        what = "images" if paths else "drawn images"
        console.say(f"{to}: {filesize.decimal(exported.size)}")
        console.say(
            f"largest difference of a probability from torch's: {exported.largest_difference:.1e}, "
            f"on {exported.images} {what}"
        )
    return 0


def _pixels(paths: list[Path], side: int) -> "Pixels":
    """Some of the images as the model sees them; drawn ones where there are none."""
    import numpy as np

    from skinlesion_cli.curation.synthetic import KINDS, draw_lesion
    from skinlesion_cli.data.eval_views import view
    from skinlesion_cli.data.images import read_image
    from skinlesion_cli.data.splits import evenly

    if paths:
        return np.stack([view(read_image(path), side) for path in evenly(paths, CHECKED_IMAGES)])
    kinds = list(KINDS)[:DRAWN_IMAGES]
    return np.stack([view(draw_lesion(kind, seed), side) for seed, kind in enumerate(kinds)])


def _int8_document(quantized: "Quantized", to: Path) -> dict[str, Any]:
    kept = {
        name: {figure: document[figure] for figure in FIGURES} for name, document in quantized.scores.items()
    }
    sizes = {"fp32": quantized.full.size, "int8": quantized.size}
    return {**_document(quantized.full), "file": str(to), "bytes": sizes, "val": kept}


def _int8_table(quantized: "Quantized") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "fp32", "int8", "difference"):
        table.add_column(column, justify="right" if column else "left")
    for figure, label in FIGURES.items():
        before, after = (quantized.scores[name][figure] for name in ("fp32", "int8"))
        table.add_row(label, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    sizes = (quantized.full.size, quantized.size)
    table.add_row("Size (MB)", *(f"{size / 1e6:.1f}" for size in sizes))
    return table


def _document(exported: "Exported") -> dict[str, Any]:
    return {
        "file": str(exported.path),
        "bytes": exported.size,
        "checked_images": exported.images,
        "largest_difference": exported.largest_difference,
    }
