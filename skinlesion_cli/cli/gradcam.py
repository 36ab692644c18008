"""`skinlesion gradcam`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import JsonOption, ModelChoice, with_settings
from skinlesion_cli.cli.predict import DISCLAIMER
from skinlesion_cli.core.description import NEEDS_GRADIENTS
from skinlesion_cli.core.settings import Settings


@with_settings("device", model=True)
def gradcam(
    *,
    settings: Settings,
    model: ModelChoice,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photograph.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The picture. Default: IMAGE's name with _gradcam.png, here."
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Class to explain. Default: the predicted one."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="Layer to map. Default: the last spatial one."),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", min=0.0, max=1.0, help="Opacity of the map over the photograph.")
    ] = 0.5,
    json: JsonOption = False,
) -> int:
    """Show where in a photograph the evidence for a class lies (Grad-CAM)."""
    from skinlesion_cli.core.errors import InputError
    from skinlesion_cli.core.files import ensure_writable_file

    target = out or Path(f"{image.stem}_gradcam.png")
    if not image.is_file():
        raise InputError(f"there is no file {image}")
    if target.exists() and target.samefile(image):
        raise InputError(f"--out {target} is the photograph itself; name another file")
    if target.suffix.lower() not in {".png", ".pdf", ".svg", ".jpg", ".jpeg"}:
        raise InputError(f"--out {target}: the picture is a .png, .jpg, .pdf or .svg file")
    ensure_writable_file(target)
    model.require_file()
    model.require_weights(NEEDS_GRADIENTS)

    from skinlesion_cli.core.gradcam import explain
    from skinlesion_cli.report.overlay import draw_overlay

    predictor = model.load(settings)
    explanation = explain(predictor, image, label=label, layer=layer)
    draw_overlay(explanation, target, alpha=alpha)
    if not explanation.heat.any():
        console.warn(f"nothing in this photograph speaks for {explanation.label}: the map is empty")
    rows, columns = explanation.grid
    if json:
        console.print_json(
            {
                "image": str(image),
                "class": explanation.label,
                "confidence": explanation.confidence,
                "layer": explanation.layer,
                "grid": [rows, columns],
                "frame": list(dataclasses.astuple(explanation.frame)),
                "out": str(target),
            }
        )
    else:
        label_text = console.printable(explanation.label)
        console.out.print(f"{label_text}  {explanation.confidence:.1%}", markup=False, soft_wrap=True)
        console.out.print(
            f"layer {explanation.layer} ({rows}×{columns}), picture: {console.printable(str(target))}",
            markup=False,
            soft_wrap=True,
        )
    console.note(DISCLAIMER)
    return 0
