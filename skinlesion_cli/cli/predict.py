"""`skinlesion predict`."""

from pathlib import Path
from typing import Annotated

from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import (
    IMAGES,
    MIN_CONFIDENCE,
    JsonOption,
    PriorOption,
    ResumeOption,
    TtaOption,
    option,
    part_of,
    with_settings,
)
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import ignore
from skinlesion_cli.common.files import ensure_writable_file
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.world import read_launch

_COLUMNS = "Columns of --csv: the model's classes, or those that the ISIC challenges score."
_FORMAT = option("--format", _COLUMNS, "classes|isic")
_PART = option("--part", "For array jobs: compute every N-th batch, from the I-th on. See --resume.", "I/N")


@with_settings("batch_size", "num_workers", "device", "precision")
def predict(
    *,
    settings: Settings,
    model: ModelChoice,
    images: Annotated[list[str], IMAGES],
    top: Annotated[int, option("--top", "Classes to show per image.", "K", min=1)] = 3,
    min_confidence: Annotated[float, MIN_CONFIDENCE] = 0.0,
    tta: TtaOption = False,
    prior: PriorOption = None,
    json: JsonOption = False,
    csv: Annotated[Path | None, option("--csv", "Also write a CSV file.", "FILE")] = None,
    csv_format: Annotated[str, _FORMAT] = "classes",
    resume: ResumeOption = False,
    part: Annotated[str, _PART] = "1/1",
) -> int:
    """Predict the class of images."""
    from skinlesion_cli.api.predict import WHOLE, predict_files
    from skinlesion_cli.cli.terminal.predictions import AsJson, AsTables, NotAtAll, Shown
    from skinlesion_cli.data.find_images import find_images
    from skinlesion_cli.inference.isic import require_distinct_images

    share, leads = part_of(part), read_launch().rank == 0
    if csv_format not in ("classes", "isic") or (csv_format == "isic" and csv is None):
        raise InputError("--format is classes or isic, and isic needs --csv FILE")
    paths = find_images(images, Display().show if leads else ignore)
    if csv_format == "isic":
        require_distinct_images(paths)
    if csv is not None:
        inputs = (*paths, *model.files())
        ensure_writable_file(csv, ".csv", inputs=inputs, option="--csv")
    with Display() as display:
        shown: Shown = AsJson(min_confidence) if json else AsTables(top, min_confidence, display)
        if share != WHOLE:
            shown = NotAtAll()
        done, failures = predict_files(
            lambda: model.load(settings, prior=prior),
            paths,
            csv=csv,
            isic=csv_format == "isic",
            flips=tta,
            resume=resume,
            part=share,
            device=settings.device,
            on_event=display.show,
            on_result=shown.add,
        )
        if leads:
            shown.end()
    if not leads:
        return 1 if failures else 0
    if share != WHOLE:
        console.note(f"part {part}: {done + failures} of {len(paths)} images are finished")
        console.note(
            "when all parts are finished, the same command with --resume instead of --part writes the file"
        )
        return 0
    if csv is not None:
        console.note(f"{done} prediction{'' if done == 1 else 's'}: {csv}")
    console.note(console.DISCLAIMER)
    return 1 if failures else 0
