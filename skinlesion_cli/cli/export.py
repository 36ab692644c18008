"""`skinlesion export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import JsonOption, ModelChoice, with_settings
from skinlesion_cli.core.settings import Settings

if TYPE_CHECKING:
    from skinlesion_cli.core.export import Exported, Pixels
    from skinlesion_cli.core.folders import Split

CHECKED_IMAGES = 32
DRAWN_IMAGES = 8


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
    from skinlesion_cli.core.errors import InputError
    from skinlesion_cli.core.extras import require_writer
    from skinlesion_cli.core.files import ensure_writable_file
    from skinlesion_cli.core.folders import find_images, read_splits

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
    from skinlesion_cli.core.export import export as write

    checkpoint = model.load_checkpoint()
    pixels = _pixels(paths, checkpoint.preprocessing.img_size)
    if splits:
        return _export_int8(checkpoint, to, pixels, splits, settings, json=json)
    exported = write(checkpoint, to, pixels)
    if json:
        console.print_json(_document(exported))
    else:
        _say(exported, "images" if paths else "drawn images")
    return 0


def _pixels(paths: list[Path], side: int) -> "Pixels":
    """Some of the images as the model sees them; drawn ones where there are none."""
    import numpy as np

    from skinlesion_cli.core.images import read_image
    from skinlesion_cli.core.quantize import evenly
    from skinlesion_cli.core.views import view
    from skinlesion_cli.data.synthetic import KINDS, draw_lesion

    if paths:
        return np.stack([view(read_image(path), side) for path in evenly(paths, CHECKED_IMAGES)])
    kinds = list(KINDS)[:DRAWN_IMAGES]
    return np.stack([view(draw_lesion(kind, seed), side) for seed, kind in enumerate(kinds)])


def _export_int8(
    checkpoint: Any,
    to: Path,
    pixels: "Pixels",
    splits: "dict[str, Split]",
    settings: Settings,
    *,
    json: bool,
) -> int:
    """Write the quantised model and score it beside the one that it was made from."""
    import tempfile

    from rich.table import Table

    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.core.evaluation import predict_and_evaluate
    from skinlesion_cli.core.export import export as write
    from skinlesion_cli.core.folders import require_classes
    from skinlesion_cli.core.predictor import load_predictor
    from skinlesion_cli.core.quantize import CALIBRATION_IMAGES, evenly, quantize
    from skinlesion_cli.core.workers import worker_count

    require_classes(splits["val"], checkpoint.classes, "the checkpoint")
    calibration = evenly(splits["train"].paths, CALIBRATION_IMAGES)
    with tempfile.TemporaryDirectory() as folder, Display() as display:
        exported = write(checkpoint, Path(folder, "fp32.onnx"), pixels)
        side, workers = checkpoint.preprocessing.img_size, worker_count(settings.num_workers)
        quantize(exported.path, to, calibration, img_size=side, workers=workers)
        scores = {}
        for name, path in (("fp32", exported.path), ("int8", to)):
            predictor = load_predictor(path, num_workers=settings.num_workers)
            _, _, scores[name] = predict_and_evaluate(predictor, splits["val"], display.show)
    sizes = {"fp32": exported.size, "int8": to.stat().st_size}
    figures = ("accuracy", "weighted_f1")
    if json:
        kept = {name: {key: scores[name][key] for key in figures} for name in scores}
        console.print_json({**_document(exported), "file": str(to), "val": kept, "bytes": sizes})
        return 0
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "fp32", "int8", "difference"):
        table.add_column(column, justify="right" if column else "left")
    for name, label in zip(figures, ("Accuracy", "Weighted F1"), strict=True):
        before, after = scores["fp32"][name], scores["int8"][name]
        table.add_row(label, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    table.add_row("Size (MB)", *(f"{sizes[name] / 1e6:.1f}" for name in ("fp32", "int8")))
    console.out.print(table)
    calibrated = f"calibrated on {len(calibration)} images of {splits['train'].root}"
    console.out.print(f"{to}: {calibrated}, scored on {len(splits['val'].files)} of {splits['val'].root}")
    return 0


def _document(exported: "Exported") -> dict[str, Any]:
    return {
        "file": str(exported.path),
        "bytes": exported.size,
        "checked_images": exported.images,
        "largest_difference": exported.largest_difference,
    }


def _say(exported: "Exported", what: str) -> None:
    path = console.printable(str(exported.path))
    console.out.print(f"{path}: {exported.size / 1e6:.1f} MB", markup=False, soft_wrap=True)
    console.out.print(
        f"largest difference of a probability from torch's: {exported.largest_difference:.1e}, "
        f"on {exported.images} {what}",
        soft_wrap=True,
    )
