"""`skinlesion gradcam`."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import JsonOption, ModelChoice, with_settings
from skinlesion_cli.cli.predict import DISCLAIMER
from skinlesion_cli.core.cam_methods import DEFAULT_METHOD, METHODS
from skinlesion_cli.core.description import NEEDS_GRADIENTS
from skinlesion_cli.core.settings import Settings

if TYPE_CHECKING:
    from skinlesion_cli.core.gradcam import Explanation
    from skinlesion_cli.core.predictor import Predictor
    from skinlesion_cli.report.gradcam_files import Files


@with_settings("device", model=True)
def gradcam(
    *,
    settings: Settings,
    model: ModelChoice,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Files, folders or globs.")],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="PATH",
            help="The picture: of one image its map, of several a contact sheet; or a folder/ for a picture "
            "of each. Default: IMAGE's name with _gradcam.png, or sheet.png, here.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Class to explain. Default: the predicted one."),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, metavar="K", help="Explain the K most probable classes.")
    ] = 1,
    method: Annotated[
        str, typer.Option("--method", metavar="|".join(METHODS), help="How the map is computed.")
    ] = DEFAULT_METHOD,
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="Layer to map. Default: the last spatial one."),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", min=0.0, max=1.0, help="Opacity of the map over the photograph.")
    ] = 0.5,
    faithfulness: Annotated[
        bool,
        typer.Option(
            "--faithfulness", help="Measure whether the answer hangs on the map: deletion and insertion."
        ),
    ] = False,
    npy: Annotated[
        bool, typer.Option("--npy", help="Also write the raw maps, as .npy beside the picture.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Show where in photographs the evidence for a class lies (Grad-CAM)."""
    from skinlesion_cli.core.errors import InputError
    from skinlesion_cli.core.folders import find_images
    from skinlesion_cli.core.settings import nearest
    from skinlesion_cli.report.gradcam_files import plan

    if method not in METHODS:
        raise InputError(f"there is no method {method!r}{nearest(method, METHODS)}; use {', '.join(METHODS)}")
    if label is not None and top > 1:
        raise InputError("--class and --top exclude each other: leave one out")
    paths = find_images(images)
    files = plan(paths, out, tiles=top, npy=npy)
    model.require_file()
    model.require_weights(NEEDS_GRADIENTS)

    predictor = model.load(settings)
    how: dict[str, Any] = {"label": label, "top": top, "layer": layer, "method": method}
    results = _drawn(predictor, paths, files, alpha, how | {"measured": faithfulness})
    several = len(paths) > 1 or top > 1
    listed = console.JsonList() if json and several else None
    failures = 0
    for documents in results:
        for document in documents:
            failures += "error" in document
            if listed is not None:
                listed.add(document)
            elif json:
                console.print_json(document)
            elif "error" not in document:
                _print(document, named=len(paths) > 1)
        if len(paths) == 1 and not json:
            _print_place(documents[-1])
    if listed is not None:
        listed.end()
    console.note(DISCLAIMER)
    return 1 if failures else 0


def _drawn(
    predictor: "Predictor", paths: Sequence[Path], files: "Files", alpha: float, how: dict[str, Any]
) -> Iterator[list[dict[str, Any]]]:
    """Explain and draw one photograph after the other; yields its documents, and keeps none."""
    from skinlesion_cli.core.errors import UnreadableImageError
    from skinlesion_cli.core.gradcam import explain_classes
    from skinlesion_cli.report.overlay import draw_overlay
    from skinlesion_cli.report.sheet import Sheets

    sheets = Sheets(files.sheets, alpha=alpha)
    for number, path in enumerate(paths):
        try:
            explanations = explain_classes(predictor, path, **how)
        except UnreadableImageError as error:
            # Of a single photograph nothing is left to be done.
            if len(paths) == 1:
                raise
            console.warn(str(error))
            yield [{"image": str(path), "error": str(error)}]
            continue
        target = sheets.add(path.name, explanations) if files.sheets else None
        if files.pictures:
            target = files.pictures[number]
            draw_overlay(explanations, target, alpha=alpha)
        maps = files.maps[number] if files.maps else None
        if maps is not None:
            _write_maps(maps, explanations)
        for one in explanations:
            if not one.heat.any():
                console.warn(f"nothing in {path} speaks for {one.label}: the map is empty")
        yield [_document(path, one, target, maps) for one in explanations]
    sheets.end()
    for sheet in sheets.written:
        console.note(f"contact sheet: {sheet}")


def _write_maps(path: Path, explanations: Sequence["Explanation"]) -> None:
    """(rows, columns) of one class; (classes, rows, columns) of several."""
    import numpy as np

    from skinlesion_cli.core.files import written_whole

    maps = np.stack([one.raw for one in explanations])
    with written_whole(path) as part:
        np.save(part, maps if len(maps) > 1 else maps[0])


def _document(path: Path, one: "Explanation", target: Path | None, maps: Path | None) -> dict[str, Any]:
    from skinlesion_cli.core.documents import number

    document: dict[str, Any] = {
        "image": str(path),
        "class": one.label,
        "confidence": one.confidence,
        "method": one.method,
        "layer": one.layer,
        "grid": list(one.grid),
        "frame": list(dataclasses.astuple(one.frame)),
        "out": str(target),
    }
    if one.faithfulness is not None:
        areas = dataclasses.asdict(one.faithfulness)
        document["faithfulness"] = {name: number(value) for name, value in areas.items()}
    if maps is not None:
        document["npy"] = str(maps)
    return document


def _print(document: dict[str, Any], *, named: bool) -> None:
    image = f"{document['image']}  " if named else ""
    _line(f"{image}{document['class']}  {document['confidence']:.1%}")
    areas = document.get("faithfulness")
    if areas is not None:
        shown = {name: "–" if value is None else f"{value:.3f}" for name, value in areas.items()}
        _line(
            f"deletion {shown['deletion']} (random {shown['random_deletion']}, lower is better), "
            f"insertion {shown['insertion']} (random {shown['random_insertion']}, higher is better)"
        )


def _print_place(document: dict[str, Any]) -> None:
    rows, columns = document["grid"]
    _line(f"layer {document['layer']} ({rows}×{columns}), picture: {document['out']}")


def _line(text: str) -> None:
    console.out.print(console.printable(text), markup=False, soft_wrap=True)
