"""`skinlesion export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import JsonOption, option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.layout import Table
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.events import Busy
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.exporting.formats import FORMATS

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
    from skinlesion_cli.api.export import plan_export

    plan = plan_export(
        to,
        data=data,
        images_root=settings.images_root,
        int8=int8,
        cam=cam,
        inputs=model.files(),
        on_event=Display().show,
    )
    model.require("it is an exported model: use the .pth that it was made from")
    with Display() as display:
        display.show(Busy(f"exporting {to}"))
        done = plan.run(
            model.load_checkpoint(), model.file, num_workers=settings.num_workers, on_event=display.show
        )
    if json:
        console.print_json(done.to_dict())
    elif plan.splits:
        quantized = cast("Quantized", done)
        console.out.print(_int8_table(quantized))
        console.say(f"{to}: calibrated on {quantized.calibrated} images of train, scored on val")
    else:
        _tell(cast("Exported", done), drawn=not plan.paths)
    return 0


def _tell(exported: "Exported", *, drawn: bool) -> None:
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


def _int8_table(quantized: "Quantized") -> Table:
    labels = {"accuracy": "Accuracy", "weighted_f1": "Weighted F1"}
    rows = [
        (labels[row["score"]], f"{row['fp32']:.4f}", f"{row['int8']:.4f}", f"{row['difference']:+.4f}")
        for row in quantized.rows()
    ]
    sizes = (f"{size / 1e6:.1f}" for size in (quantized.full.size, quantized.size))
    return console.table(("", "fp32", "int8", "difference"), [*rows, ("Size (MB)", *sizes)])
