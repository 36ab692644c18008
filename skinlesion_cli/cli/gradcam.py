"""`skinlesion gradcam`."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from skinlesion_cli.cli import console
from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import IMAGES, JsonOption, option, with_settings
from skinlesion_cli.cli.progress import Display
from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.report.heatmaps import ALPHA
from skinlesion_cli.report.heatmaps.files import Files, plan
from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD, METHODS, require_method

_SPLIT = option("--split", "Explain this split of --data instead of IMAGE.", "NAME")
_LIMIT = option("--limit", "Only N images of the split, evenly spaced.", "N", min=1)
_OUT = option(
    "--out",
    "The figure: the map of one image, a contact sheet of several; or a folder/ for one figure per "
    "image. Default: IMAGE_gradcam.png or sheet.png in the current folder; none for a split.",
    "PATH",
)
_CLASS = option("--class", "Class to explain; repeat for several. Default: the predicted class.", "NAME")
_METHOD = option("--method", "How the map is computed.", "|".join(METHODS))
_LAYER = option("--layer", "Layer to map. Default: the last spatial layer.", "NAME")
_ALPHA = option("--alpha", "Opacity of the map between its lines.", "NUMBER", min=0.0, max=1.0)
_SMOOTH = option("--smooth", "Interpolate between the cells of the map.")
_DEPENDS = "Measure whether the prediction depends on the map (deletion, insertion)."


@with_settings("data_root", "images_root", "device")
def gradcam(
    *,
    settings: Settings,
    model: ModelChoice,
    images: Annotated[list[str] | None, IMAGES] = None,
    split: Annotated[str | None, _SPLIT] = None,
    limit: Annotated[int | None, _LIMIT] = None,
    out: Annotated[str | None, _OUT] = None,
    labels: Annotated[list[str] | None, _CLASS] = None,
    top: Annotated[int, option("--top", "Explain the K most probable classes.", "K", min=1)] = 1,
    method: Annotated[str, _METHOD] = DEFAULT_METHOD,
    layer: Annotated[str | None, _LAYER] = None,
    alpha: Annotated[float, _ALPHA] = ALPHA,
    smooth: Annotated[bool, _SMOOTH] = False,
    faithfulness: Annotated[bool, option("--faithfulness", _DEPENDS)] = False,
    npy: Annotated[bool, option("--npy", "Also write the raw maps as .npy, next to the figure.")] = False,
    json: JsonOption = False,
) -> int:
    """Show which parts of photographs are evidence for a class (Grad-CAM)."""
    require_method(method)
    wanted = list(dict.fromkeys(labels or ()))  # in the order given, without repetitions
    if wanted and top > 1:
        raise InputError("--class and --top exclude each other: use only one of them")
    if split is not None and out is None and (npy or not faithfulness):
        raise InputError("--split needs --out folder/, or --faithfulness without --npy")
    # A folder of several runs has no data set of its own, and named photographs need none.
    place = (settings.data_root, None) if split is None else model.data(settings)
    paths, true, groups = _photographs(*place, images or [], split, limit)
    many, tiles = len(paths) > 1, max(top, len(wanted))
    files = plan(paths, out, tiles=tiles, npy=npy) if split is None or out is not None else Files([], [], [])
    predictor = model.load(settings)

    from skinlesion_cli.api.explain import MapWriter, explain_each
    from skinlesion_cli.inference.prediction import Failure
    from skinlesion_cli.report.fonts import undrawable
    from skinlesion_cli.report.heatmaps.captions import summary_lines
    from skinlesion_cli.saliency.faithfulness import summarise

    if text := undrawable([*predictor.classes, *(path.name for path in paths)]):
        console.warn(text)
    writer = MapWriter(files, alpha=alpha, smooth=smooth)
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
        written = writer.add(index, result, true[index] if true else None)
        for one in result:
            if not one.heat.any():
                fault = f"no positive evidence for {one.label} in the layer {one.layer}"
                console.warn(f"{one.source}: {fault}; the map is empty")
            known = {"true": true[index], "predicted": one.predicted} if true else {}
            keep(document := one.to_dict() | known | written)
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
        picture = f", figure: {written['out']}" if "out" in written else ""
        console.say(f"layer {document['layer']} ({'×'.join(map(str, document['grid']))}){picture}")
    elif summary is not None:
        console.out.print()
        for line in summary_lines(summary):
            console.paragraph(line)
    console.note(console.DISCLAIMER)
    return 1 if failures else 0


def _photographs(
    data_root: Path, images_root: Path | None, images: Sequence[str], split: str | None, limit: int | None
) -> tuple[list[Path], list[str] | None, list[str] | None]:
    """The photographs, and if known, the true class and the lesion or patient of each."""
    from skinlesion_cli.data.find_images import find_images
    from skinlesion_cli.data.manifest import check_manifest, origins_of
    from skinlesion_cli.data.splits import evenly, read_split

    if bool(images) == (split is not None):
        raise InputError("give either images, or a split of the data set with --split")
    if split is None:
        if limit is not None:
            raise InputError("--limit needs --split: leave it out, or give fewer images")
        return find_images(images, Display().show), None, None
    found = read_split(data_root, split, Display().show, images_root=images_root)
    check_manifest(data_root, [found], Display().show)
    chosen = evenly(range(len(found.files)), len(found.files) if limit is None else limit)
    files, true = [found.files[index] for index in chosen], [found.classes[found.labels[n]] for n in chosen]
    return [found.root / file for file in files], true, origins_of(data_root, split, files).groups


def _say(document: dict[str, Any], *, many: bool) -> None:
    found = f"{document['class']}  {probability_text(document['confidence'])}"
    console.say(f"{document['image']}  {found}" if many else found)
    if areas := document.get("faithfulness"):
        shown = {name: "–" if value is None else f"{value:.3f}" for name, value in areas.items()}
        console.say(
            f"deletion {shown['deletion']} (random {shown['random_deletion']}, lower is better), "
            f"insertion {shown['insertion']} (random {shown['random_insertion']}, higher is better)"
        )
