"""`export --to FOLDER`: a checkpoint as a timm folder, with the model card of its run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Note, OnEvent
from skinlesion_cli.common.files import CORE_ML, ensure_writable_folder
from skinlesion_cli.models.timm_folder import CONFIG, DETECTOR, OWN, README, WEIGHTS, read_config

if TYPE_CHECKING:
    from skinlesion_cli.exporting.verified import Exported
    from skinlesion_cli.models.checkpoint import Checkpoint

FILES = {CONFIG, WEIGHTS[0], README, DETECTOR}


def is_folder_name(target: Path) -> bool:
    """Whether `--to` is a folder: an existing one, or a name without a suffix of letters, such as v1.0."""
    return target.suffix != CORE_ML and (target.is_dir() or not target.suffix[1:2].isalpha())


def require_own_folder(target: Path, inputs: Sequence[Path]) -> None:
    """InputError unless a folder can be written here: a new one, an empty one, or an earlier export.

    None of the `inputs` is in it.
    """
    if not target.exists():
        ensure_writable_folder(target.parent)
        return
    if not target.is_dir():
        raise InputError(f"--to {target}: it is a file; choose a folder")
    if target.resolve() == Path.cwd():
        raise InputError(f"--to {target}: it is the current folder, which cannot be replaced; choose another")
    there = sorted(path.name for path in target.iterdir())
    others = [name for name in there if name not in FILES]
    if others or (there and OWN not in read_config(target)):
        what = (others or there)[0]
        raise InputError(
            f"--to {target}: it contains {what}, which is not an earlier output; choose a new folder"
        )
    if any(path.resolve().parent == target.resolve() for path in inputs):
        raise InputError(f"--to would overwrite {target}, an input; choose another name")
    ensure_writable_folder(target)


def export_folder(
    checkpoint: "Checkpoint",
    model: Path,
    target: Path,
    photographs: Sequence[Path] = (),
    *,
    on_event: OnEvent,
) -> "Exported":
    """Write a checkpoint, read from `model`, as a folder that timm and the hub can read; verify it in timm.

    Args:
        checkpoint: the model.
        model: the file that it was read from. If it is the best model of a run, README.md has its scores.
        target: the folder: new, empty, or an earlier export.
        photographs: for the verification; if there are none, synthetic images are used.
        on_event: receives notes.

    Raises:
        InputError: the folder holds something else.
        SkinLesionError: timm's outputs differ, or the folder cannot be written; nothing is changed then.
    """
    from skinlesion_cli.exporting import timm_folder
    from skinlesion_cli.exporting.verified import check_pixels
    from skinlesion_cli.report.card import require_replaceable
    from skinlesion_cli.report.hub_card import hub_readme

    require_own_folder(target, [model])
    require_replaceable(target / README)
    readme, missing = hub_readme(checkpoint, model)
    if missing:
        on_event(Note(f"README.md has no scores: {missing}"))
    pixels = check_pixels(photographs, checkpoint.preprocessing)
    return timm_folder.export_folder(checkpoint, target, pixels, readme)
