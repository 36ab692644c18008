"""`skinlesion gradcam`."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import JsonOption, ModelChoice, with_settings
from skinlesion_cli.cli.predict import DISCLAIMER
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.models.model_info import NEEDS_GRADIENTS
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD, METHODS, require_method

if TYPE_CHECKING:
    from skinlesion_cli.inference.predictor import Predictor
    from skinlesion_cli.report.gradcam_files import Files
    from skinlesion_cli.saliency.faithfulness import Faithfulness
    from skinlesion_cli.saliency.gradcam import Explanation


@with_settings("data_root", "device", model=True)
def gradcam(
    *,
    settings: Settings,
    model: ModelChoice,
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE…", help="Files, folders or globs.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Instead of IMAGE: the images of this split of --data."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Of the split, this many, evenly spread."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="PATH",
            help="The picture: of one image its map, of several a contact sheet; or a folder/ for a picture "
            "of each. Default: IMAGE's name with _gradcam.png, or sheet.png, here; of a split none.",
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Class to explain; may be given several times. Default: the predicted one.",
        ),
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
    from skinlesion_cli.common.errors import InputError
    from skinlesion_cli.report.gradcam_files import Files, plan

    require_method(method)
    # In the order given, each once.
    wanted = list(dict.fromkeys(labels or ()))
    if wanted and top > 1:
        raise InputError("--class and --top exclude each other: leave one out")
    if split is not None and out is None and (npy or not faithfulness):
        raise InputError("a split is not drawn by itself: add --out folder/, or --faithfulness without --npy")
    paths, groups = _photographs(settings.data_root, images or [], split, limit)
    tiles = max(top, len(wanted))
    files = plan(paths, out, tiles=tiles, npy=npy) if split is None or out is not None else Files([], [], [])
    model.require_file()
    model.require_weights(NEEDS_GRADIENTS)

    predictor = model.load(settings)
    how: dict[str, Any] = {"labels": wanted, "top": top, "layer": layer, "method": method}
    results = _drawn(predictor, paths, files, alpha, how | {"measured": faithfulness})
    listed = console.JsonList() if json and split is None and (len(paths) > 1 or tiles > 1) else None
    kept: list[dict[str, Any]] = []
    tell: Callable[[dict[str, Any]], None] = functools.partial(_print, named=len(paths) > 1)
    if listed is not None:
        tell = listed.add
    elif json:
        tell = console.print_json if split is None else kept.append
    measured: list[tuple[Faithfulness, str]] = []
    failures = 0
    for (documents, areas), group in zip(results, groups or map(str, paths), strict=True):
        measured += [(one, group) for one in areas]
        failures += sum("error" in document for document in documents)
        for document in documents:
            tell(document)
    summary = _summary(measured, "groups" if groups else "images")
    if listed is not None:
        listed.end()
    elif json and split is not None:
        console.print_json({"split": split, "method": method, "faithfulness": summary, "images": kept})
    elif not json and len(paths) == 1:
        _print_place(documents[-1])
    elif not json and summary is not None:
        _print_summary(summary)
    console.note(DISCLAIMER)
    return 1 if failures else 0


def _photographs(
    data_root: Path, images: Sequence[str], split: str | None, limit: int | None
) -> tuple[list[Path], list[str] | None]:
    """The photographs, and where it is known the lesion or patient of each."""
    from skinlesion_cli.common.errors import InputError
    from skinlesion_cli.data.manifest import origins_of
    from skinlesion_cli.data.splits import evenly, find_images, read_split

    if bool(images) == (split is not None):
        raise InputError("name either images, or a split of the data set with --split")
    if split is None:
        if limit is not None:
            raise InputError("--limit is for --split: leave it out, or name fewer images")
        return find_images(images), None
    found = read_split(data_root, split)
    files = found.files if limit is None else evenly(found.files, limit)
    return [found.root / file for file in files], origins_of(data_root, split, files).groups


def _summary(measured: Sequence[tuple["Faithfulness", str]], unit: str) -> dict[str, Any] | None:
    from skinlesion_cli.saliency.faithfulness import summarise

    if not measured:
        return None
    areas, groups = zip(*measured, strict=True)
    return summarise(areas, groups, unit)


def _drawn(
    predictor: "Predictor", paths: Sequence[Path], files: "Files", alpha: float, how: dict[str, Any]
) -> Iterator[tuple[list[dict[str, Any]], list["Faithfulness"]]]:
    """Explain and draw one photograph after the other; yields documents and what was measured of each."""
    from skinlesion_cli.common.errors import UnreadableImageError
    from skinlesion_cli.report.overlay import draw_overlay
    from skinlesion_cli.report.sheet import Sheets
    from skinlesion_cli.saliency.gradcam import explain_classes

    sheets = Sheets(files.sheets, alpha=alpha)
    for number, path in enumerate(paths):
        try:
            explanations = explain_classes(predictor, path, **how)
        except UnreadableImageError as error:
            # Of a single photograph nothing is left to be done.
            if len(paths) == 1:
                raise
            console.warn(str(error))
            yield [{"image": str(path), "error": str(error)}], []
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
        documents = [_document(path, one, target, maps) for one in explanations]
        yield documents, [one.faithfulness for one in explanations if one.faithfulness is not None]
    sheets.end()
    for sheet in sheets.written:
        console.note(f"contact sheet: {sheet}")


def _write_maps(path: Path, explanations: Sequence["Explanation"]) -> None:
    """(rows, columns) of one class; (classes, rows, columns) of several."""
    import numpy as np

    from skinlesion_cli.common.files import written_whole

    maps = np.stack([one.raw for one in explanations])
    with written_whole(path) as part:
        np.save(part, maps if len(maps) > 1 else maps[0])


def _document(path: Path, one: "Explanation", target: Path | None, maps: Path | None) -> dict[str, Any]:
    from skinlesion_cli.metrics.arrays import number

    document: dict[str, Any] = {
        "image": str(path),
        "class": one.label,
        "confidence": one.confidence,
        "method": one.method,
        "layer": one.layer,
        "grid": list(one.grid),
        "frame": list(dataclasses.astuple(one.frame)),
    }
    if target is not None:
        document["out"] = str(target)
    if one.faithfulness is not None:
        areas = dataclasses.asdict(one.faithfulness)
        document["faithfulness"] = {name: number(value) for name, value in areas.items()}
    if maps is not None:
        document["npy"] = str(maps)
    return document


def _print(document: dict[str, Any], *, named: bool) -> None:
    if "error" in document:
        return
    image = f"{document['image']}  " if named else ""
    console.say(f"{image}{document['class']}  {probability_text(document['confidence'])}")
    areas = document.get("faithfulness")
    if areas is not None:
        shown = {name: "–" if value is None else f"{value:.3f}" for name, value in areas.items()}
        console.say(
            f"deletion {shown['deletion']} (random {shown['random_deletion']}, lower is better), "
            f"insertion {shown['insertion']} (random {shown['random_insertion']}, higher is better)"
        )


def _print_summary(summary: dict[str, Any]) -> None:
    console.out.print()
    console.say(f"{summary['n']} maps, means with 95 % intervals ({summary['ci95_method']})")
    for name, better in (("deletion", "lower"), ("insertion", "higher")):
        own, random = _told(summary[name]), _told(summary[f"random_{name}"])
        won = _told(summary[f"{name}_beats_random"], ".0%")
        console.say(
            f"{name} {own}, random {random}, {better} is better; better than random for {won} of the maps"
        )


def _told(figure: dict[str, Any], form: str = ".3f") -> str:
    ends = figure["ci95"]
    return f"{figure['mean']:{form}}" + (f" [{ends[0]:{form}}, {ends[1]:{form}}]" if ends else "")


def _print_place(document: dict[str, Any]) -> None:
    rows, columns = document["grid"]
    picture = f", picture: {document['out']}" if "out" in document else ""
    console.say(f"layer {document['layer']} ({rows}×{columns}){picture}")
