"""`plan_export`: checks the arguments of an export before torch is imported; then `run` exports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skinlesion_cli.api.timm_folder import export_folder, is_folder_name, require_own_folder
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.files import ensure_writable_file
from skinlesion_cli.data.find_images import find_images
from skinlesion_cli.data.splits import Split, read_splits
from skinlesion_cli.data.suffixes import is_table_name
from skinlesion_cli.data.table import read_data_table
from skinlesion_cli.data.workers import worker_count
from skinlesion_cli.exporting.formats import Format, format_of

if TYPE_CHECKING:
    from skinlesion_cli.exporting.int8 import Quantized
    from skinlesion_cli.exporting.verified import Exported
    from skinlesion_cli.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class ExportPlan:
    """An export whose arguments are valid."""

    target: Path
    format: Format | None
    """The format of a file; None for a timm folder."""
    paths: Sequence[Path]
    """Images to verify it on; empty for synthetic ones."""
    splits: dict[str, Split]
    """Train and val for an int8 export; otherwise empty."""
    cam: bool

    def run(
        self,
        checkpoint: "Checkpoint",
        model: Path,
        *,
        num_workers: int | None = None,
        on_event: OnEvent = ignore,
    ) -> "Exported | Quantized":
        """Export a checkpoint that was read from the file `model`; for errors, see the functions `export`."""
        from skinlesion_cli.exporting.verified import check_pixels

        if self.format is None:
            return export_folder(checkpoint, model, self.target, self.paths, on_event=on_event)
        pixels = check_pixels(self.paths, checkpoint.preprocessing)
        if not self.splits:
            options = {"cam": True} if self.cam else {}
            exported: Exported = self.format.export(checkpoint, self.target, pixels, **options)
            return exported
        from skinlesion_cli.exporting.int8 import export_int8

        train, val, workers = self.splits["train"], self.splits["val"], worker_count(num_workers)
        return export_int8(checkpoint, self.target, pixels, train, val, workers=workers, on_event=on_event)


def plan_export(
    target: Path,
    *,
    data: Path | None = None,
    images_root: Path | None = None,
    int8: bool = False,
    cam: bool = False,
    inputs: Sequence[Path] = (),
    on_event: OnEvent = ignore,
) -> ExportPlan:
    """Check the arguments of an export, and list its images.

    Args:
        target: the file or folder to write; its name determines the format.
        data: a folder or a table of images to verify it on; None for synthetic images.
        images_root: the folder that the files of a table are relative to.
        int8: whether to quantise to int8, calibrated on the split train of `data` and scored on val.
        cam: whether the file also outputs the class-activation maps.
        inputs: files that must not be overwritten.
        on_event: receives notes on the images.

    Raises:
        InputError: contradictory arguments, no such data, a target that cannot be written, or a package is
            missing.
    """
    chosen = None if is_folder_name(target) else format_of(target)
    if int8 and (data is None or target.suffix != ".onnx"):
        raise InputError("--int8 needs --data with train/ and val/, and --to FILE.onnx")
    if cam and (int8 or target.suffix != ".onnx"):
        raise InputError("--cam needs --to FILE.onnx without --int8: in 8 bits, the maps would not be exact")
    splits: dict[str, Split] = {}
    paths: list[Path] = []
    if data is not None and int8:
        splits = read_splits(data, ["train", "val"], on_event=on_event, images_root=images_root)
        paths = splits["val"].paths
    elif data is not None and is_table_name(data):
        paths = read_data_table(data, images_root, on_event).paths
    elif data is not None:
        if images_root is not None:
            raise InputError(f"--images needs a table, and {data} is not one")
        paths = find_images([str(data)], on_event)
    if chosen is None:
        require_own_folder(target, inputs)
    else:
        ensure_writable_file(target, inputs=inputs, option="--to")
        chosen.require(target.suffix)
    return ExportPlan(target, chosen, paths, splits, cam)
