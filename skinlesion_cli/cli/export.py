"""`skinlesion export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from skinlesion_cli.cli import console
from skinlesion_cli.cli.layout import Table
from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import JsonOption, option, with_settings
from skinlesion_cli.cli.progress import Display
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import ensure_writable_file
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.exporting.formats import FORMATS, format_of

if TYPE_CHECKING:
    from skinlesion_cli.exporting.int8 import Quantized
    from skinlesion_cli.exporting.verified import Exported

_DATA = option("--data", "Verify on images of this folder or table. Default: synthetic images.", "PATH")
_FILES = f"The file to write: {', '.join(FORMATS)}; or a folder for timm and the Hugging Face hub."
_TO = option("--to", _FILES, "FILE|FOLDER")
_CAM = option("--cam", "Also output the class-activation map of each class, for gradcam without PyTorch.")
_INT8 = option("--int8", "Quantise to int8, calibrated on train and scored on val of --data. Needs --data.")


@with_settings("images_root", "num_workers")
def export(
    *,
    settings: Settings,
    model: ModelChoice,
    to: Annotated[Path, _TO],
    data: Annotated[Path | None, _DATA] = None,
    int8: Annotated[bool, _INT8] = False,
    cam: Annotated[bool, _CAM] = False,
    json: JsonOption = False,
) -> int:
    """Export a checkpoint for other programs, verified against PyTorch."""
    from skinlesion_cli.api.timm_folder import export_folder, is_folder_name, require_own_folder
    from skinlesion_cli.data.find_images import find_images
    from skinlesion_cli.data.splits import Split, read_splits
    from skinlesion_cli.data.table import read_data_table

    chosen = None if is_folder_name(to) else format_of(to)
    if int8 and (data is None or to.suffix != ".onnx"):
        raise InputError("--int8 needs --data with train/ and val/, and --to FILE.onnx")
    if cam and (int8 or to.suffix != ".onnx"):
        raise InputError("--cam needs --to FILE.onnx without --int8: in 8 bits, the maps would not be exact")
    tell = Display().show
    splits: dict[str, Split] = {}
    paths: list[Path] = []
    if data is not None and int8:
        splits = read_splits(data, ["train", "val"], on_event=tell, images_root=settings.images_root)
        paths = splits["val"].paths
    elif data is not None and data.suffix.lower() == ".csv":
        paths = read_data_table(data, settings.images_root, tell).paths
    elif data is not None:
        if settings.images_root is not None:
            raise InputError(f"--images needs a table, and {data} is not one")
        paths = find_images([str(data)], tell)
    if chosen is not None:
        ensure_writable_file(to, inputs=model.files(), option="--to")
    model.require_weights("it is an exported model: use the .pth that it was made from")
    if chosen is None:
        require_own_folder(to, model.files())
    else:
        chosen.require(to.suffix)

    # torch takes seconds to import, so only after the checks above.
    from skinlesion_cli.exporting.verified import check_pixels

    checkpoint = model.load_checkpoint()
    if chosen is None:
        done = export_folder(checkpoint, model.file, to, paths, on_event=tell)
        return _tell(done, json=json, drawn=not paths)
    pixels = check_pixels(paths, checkpoint.preprocessing)
    if splits:
        from skinlesion_cli.data.workers import worker_count
        from skinlesion_cli.exporting.int8 import export_int8

        workers = worker_count(settings.num_workers)
        with Display() as display:
            quantized = export_int8(
                checkpoint, to, pixels, splits["train"], splits["val"], workers=workers, on_event=display.show
            )
        if json:
            console.print_json(quantized.to_dict())
        else:
            console.out.print(_int8_table(quantized))
            console.say(f"{to}: calibrated on {quantized.calibrated} images of train, scored on val")
        return 0
    exported = chosen.export(checkpoint, to, pixels, **({"cam": True} if cam else {}))
    return _tell(exported, json=json, drawn=not paths)


def _tell(exported: "Exported", *, json: bool, drawn: bool) -> int:
    if json:
        console.print_json(exported.to_dict())
        return 0
    console.say(f"{exported.path}: {exported.size / 1e6:.1f} MB")
    if exported.largest_difference is None:
        console.say(
            "not verified: it runs on Apple devices only; compare its probabilities there with predict"
        )
    else:
        console.say(
            f"largest difference of a probability from PyTorch's: {exported.largest_difference:.1e}, "
            f"on {exported.images} {'synthetic ' if drawn else ''}images"
        )
    if exported.cam is not None:
        grid = "×".join(map(str, exported.cam["grid"]))
        console.say(f"class-activation maps: layer {exported.cam['layer']} ({grid})")
    return 0


def _int8_table(quantized: "Quantized") -> Table:
    rows = []
    for score, label in (("accuracy", "Accuracy"), ("weighted_f1", "Weighted F1")):
        before, after = (quantized.scores[name][score] for name in ("fp32", "int8"))
        rows.append((label, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"))
    sizes = (f"{size / 1e6:.1f}" for size in (quantized.full.size, quantized.size))
    return console.table(("", "fp32", "int8", "difference"), [*rows, ("Size (MB)", *sizes)])
