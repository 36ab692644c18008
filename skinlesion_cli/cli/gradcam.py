"""`skinlesion gradcam`."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import IMAGES, JsonOption, option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display, busy
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.report.heatmaps import ALPHA
from skinlesion_cli.report.heatmaps.files import Files, plan
from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD, METHODS, require_method

if TYPE_CHECKING:
    from skinlesion_cli.api.explain_files import Photographs

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
    photographs = _photographs(settings, model, images or [], split, limit)
    paths, many, tiles = photographs.paths, len(photographs.paths) > 1, max(top, len(wanted))
    files = plan(paths, out, tiles=tiles, npy=npy) if split is None or out is not None else Files([], [], [])
    with busy("loading the model"):
        predictor = model.load(settings)

    from skinlesion_cli.api.explain_files import explain_files
    from skinlesion_cli.report.heatmaps.captions import summary_lines

    listed = console.JsonList() if json and split is None and (many or tiles > 1) else None
    documents: deque[dict[str, Any]] = deque(maxlen=None if json and listed is None else 1)
    keep = documents.append if listed is None else listed.add

    def show(document: dict[str, Any]) -> None:
        keep(document)
        if not json and "error" not in document:
            _say(document, many=many)

    options: dict[str, Any] = {"layer": layer, "method": method, "measured": faithfulness}
    options |= {"labels": wanted, "top": top, "alpha": alpha, "smooth": smooth}
    done = explain_files(predictor, photographs, files, on_event=Display().show, on_result=show, **options)
    for sheet in done.sheets:
        console.note(f"contact sheet: {sheet}")
    if listed is not None:
        listed.end()
    elif json:
        found = {"split": split, "method": method, "faithfulness": done.summary, "images": list(documents)}
        console.print_json(documents[0] if split is None else found)
    elif not many:
        (document,) = documents
        picture = f", figure: {document['out']}" if "out" in document else ""
        console.say(f"layer {document['layer']} ({'×'.join(map(str, document['grid']))}){picture}")
    elif done.summary is not None:
        console.out.print()
        for line in summary_lines(done.summary):
            console.paragraph(line)
    console.note(console.DISCLAIMER)
    return 1 if done.failures else 0


def _photographs(
    settings: Settings, model: ModelChoice, images: Sequence[str], split: str | None, limit: int | None
) -> "Photographs":
    from skinlesion_cli.api.explain_files import Photographs, photographs_of
    from skinlesion_cli.data.find_images import find_images

    if bool(images) == (split is not None):
        raise InputError("give either images, or a split of the data set with --split")
    if split is not None:
        data, root = model.data(settings)
        return photographs_of(data, split, images_root=root, limit=limit, on_event=Display().show)
    if limit is not None:
        raise InputError("--limit needs --split: leave it out, or give fewer images")
    return Photographs(find_images(images, Display().show))


def _say(document: dict[str, Any], *, many: bool) -> None:
    found = f"{document['class']}  {probability_text(document['confidence'])}"
    console.say(f"{document['image']}  {found}" if many else found)
    if areas := document.get("faithfulness"):
        shown = {name: "–" if value is None else f"{value:.3f}" for name, value in areas.items()}
        console.say(
            f"deletion {shown['deletion']} (random {shown['random_deletion']}, lower is better), "
            f"insertion {shown['insertion']} (random {shown['random_insertion']}, higher is better)"
        )
