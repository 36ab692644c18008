"""`skinlesion gradcam`."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import JsonOption, with_settings
from skinlesion_cli.cli.predict import DISCLAIMER
from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.models.model_info import NEEDS_GRADIENTS
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD, METHODS, require_method

_IMAGES = typer.Argument(metavar="IMAGE…", help="Files, folders or globs.")
_SPLIT = typer.Option("--split", metavar="NAME", help="Explain this split of --data instead of IMAGE.")
_LIMIT = typer.Option("--limit", min=1, metavar="N", help="Only N images of the split, evenly spaced.")
_OUT = typer.Option(
    "--out",
    metavar="PATH",
    help="The picture: the map of one image, a contact sheet of several; or a folder/ for one picture per "
    "image. Default: IMAGE_gradcam.png or sheet.png in this folder; none for a split.",
)
_CLASS = typer.Option(
    "--class", metavar="NAME", help="Class to explain; repeat for several. Default: the predicted class."
)
_TOP = typer.Option("--top", min=1, metavar="K", help="Explain the K most probable classes.")
_METHOD = typer.Option("--method", metavar="|".join(METHODS), help="How the map is computed.")
_LAYER = typer.Option("--layer", metavar="NAME", help="Layer to map. Default: the last spatial layer.")
_ALPHA = typer.Option("--alpha", min=0.0, max=1.0, help="Opacity of the map over the photograph.")
_FAITHFULNESS = typer.Option(
    "--faithfulness", help="Measure whether the prediction depends on the map (deletion, insertion)."
)
_NPY = typer.Option("--npy", help="Also write the raw maps as .npy, next to the picture.")


@with_settings("data_root", "device", model=True)
def gradcam(
    *,
    settings: Settings,
    model: ModelChoice,
    images: Annotated[list[str] | None, _IMAGES] = None,
    split: Annotated[str | None, _SPLIT] = None,
    limit: Annotated[int | None, _LIMIT] = None,
    out: Annotated[str | None, _OUT] = None,
    labels: Annotated[list[str] | None, _CLASS] = None,
    top: Annotated[int, _TOP] = 1,
    method: Annotated[str, _METHOD] = DEFAULT_METHOD,
    layer: Annotated[str | None, _LAYER] = None,
    alpha: Annotated[float, _ALPHA] = 0.5,
    faithfulness: Annotated[bool, _FAITHFULNESS] = False,
    npy: Annotated[bool, _NPY] = False,
    json: JsonOption = False,
) -> int:
    """Show which parts of photographs are evidence for a class (Grad-CAM)."""
    from skinlesion_cli.report.heatmaps.files import Files, plan

    require_method(method)
    # In the order given, without repetitions.
    wanted = list(dict.fromkeys(labels or ()))
    if wanted and top > 1:
        raise InputError("--class and --top exclude each other: use only one of them")
    if split is not None and out is None and (npy or not faithfulness):
        raise InputError("--split needs --out folder/, or --faithfulness without --npy")
    paths, groups = _photographs(settings.data_root, images or [], split, limit)
    many, tiles = len(paths) > 1, max(top, len(wanted))
    files = plan(paths, out, tiles=tiles, npy=npy) if split is None or out is not None else Files([], [], [])
    model.require_file()
    model.require_weights(NEEDS_GRADIENTS)

    from skinlesion_cli.api.explain import MapWriter, explain_each
    from skinlesion_cli.inference.predictor import Failure
    from skinlesion_cli.saliency.faithfulness import summarise

    predictor, writer = model.load(settings), MapWriter(files, alpha=alpha)
    listed = console.JsonList() if json and split is None and (many or tiles > 1) else None
    documents: deque[dict[str, Any]] = deque(maxlen=None if json and listed is None else 1)
    keep = documents.append if listed is None else listed.add
    areas, units, failures = [], [], 0
    options = {"labels": wanted, "top": top, "layer": layer, "method": method, "measured": faithfulness}
    for index, result in enumerate(explain_each(predictor, paths, **options)):
        if isinstance(result, Failure):
            if not many:
                raise UnreadableImageError(result.error)
            console.warn(result.error)
            keep({"image": result.image, "error": result.error})
            failures += 1
            continue
        written = writer.add(index, result)
        for one in result:
            if not one.heat.any():
                console.warn(f"{one.source}: no positive evidence for {one.label}; the map is empty")
            keep(document := one.to_dict() | written)
            if not json:
                _say(document, many=many)
            if one.faithfulness is not None:
                areas.append(one.faithfulness)
                units.append(groups[index] if groups else one.source)
    for sheet in writer.end():
        console.note(f"contact sheet: {sheet}")
    summary = summarise(areas, units, "groups" if groups else "images") if areas else None
    if listed is not None:
        listed.end()
    elif json:
        found = {"split": split, "method": method, "faithfulness": summary, "images": list(documents)}
        console.print_json(documents[0] if split is None else found)
    elif not many:
        picture = f", picture: {written['out']}" if "out" in written else ""
        console.say(f"layer {document['layer']} ({'×'.join(map(str, document['grid']))}){picture}")
    elif summary is not None:
        _say_summary(summary)
    console.note(DISCLAIMER)
    return 1 if failures else 0


def _photographs(
    data_root: Path, images: Sequence[str], split: str | None, limit: int | None
) -> tuple[list[Path], list[str] | None]:
    """The photographs, and the lesion or patient of each if known."""
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


def _say(document: dict[str, Any], *, many: bool) -> None:
    image = f"{document['image']}  " if many else ""
    console.say(f"{image}{document['class']}  {probability_text(document['confidence'])}")
    if areas := document.get("faithfulness"):
        shown = {name: "–" if value is None else f"{value:.3f}" for name, value in areas.items()}
        console.say(
            f"deletion {shown['deletion']} (random {shown['random_deletion']}, lower is better), "
            f"insertion {shown['insertion']} (random {shown['random_insertion']}, higher is better)"
        )


def _say_summary(summary: dict[str, Any]) -> None:
    console.out.print()
    console.say(f"{summary['n']} maps, means with 95 % intervals ({summary['ci95_method']})")
    for name, better in (("deletion", "lower"), ("insertion", "higher")):
        own, random = _with_interval(summary[name]), _with_interval(summary[f"random_{name}"])
        won = _with_interval(summary[f"{name}_beats_random"], ".0%")
        console.say(f"{name} {own}, random {random}, {better} is better; better than random in {won} of maps")


def _with_interval(figure: dict[str, Any], form: str = ".3f") -> str:
    ends = figure["ci95"]
    return f"{figure['mean']:{form}}" + (f" [{ends[0]:{form}}, {ends[1]:{form}}]" if ends else "")
