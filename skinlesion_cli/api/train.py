"""`train`: one training run, from a folder of images to a scored checkpoint."""

import os
from pathlib import Path
from types import ModuleType
from typing import Any

from skinlesion_cli.common.events import OnEvent, Warned, ignore
from skinlesion_cli.common.resolve import resolve
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.tracking.follow import Follower
from skinlesion_cli.training.run import TrainingResult, run_training
from skinlesion_cli.training.run_folder import RunFolder


def train(
    settings: Settings | None = None,
    *,
    out: str | Path = ".",
    resume: bool = False,
    overwrite: bool = False,
    on_event: OnEvent = ignore,
    **settings_by_name: Any,
) -> TrainingResult:
    """Train a classifier on DATA/train, select the epoch on DATA/val, and score it on all splits.

    In a notebook, `train(data_root="data", out="run", epochs=10)` does what the command `skinlesion train`
    does, and writes the same files. It neither prints nor reads the environment. Ctrl-C, or the notebook's
    stop button, ends training after the current step; `resume=True` continues from there.

    Args:
        settings: of the run; None for the defaults.
        out: folder for `checkpoints/` and `results/`.
        resume: continue from `checkpoints/last.pth`.
        overwrite: replace an earlier run in `out`.
        on_event: receives progress events (see `skinlesion_cli.common.events`): `RunStarted`, `EpochDone` and
            `RunScored` contain all that a custom tracker needs (see docs/tracking.md).
        **settings_by_name: settings that differ from `settings`: `data_root`, `epochs`, `learning_rate`, …;
            `track="tensorboard"` or `track=["mlflow", "wandb"]` also logs the run with these trackers.

    Returns:
        The paths, the history, and the evaluation document of each split.

    Raises:
        InputError: a setting, the data set or the folder is invalid; nothing was done.
        UnreadableImageError: some images cannot be read.
        TrainingError: training cannot continue, for example because the loss is no longer finite.
        InterruptedRunError: a signal stopped the run.
        SkinLesionError: the weights cannot be downloaded, or a file cannot be written.
    """
    base = {} if settings is None else settings.model_dump(exclude_unset=True)
    resolved = resolve(base | settings_by_name, environ={}, dotenv=Path(os.devnull))
    with Follower(resolved.track, on_event) as tell:
        result = run_training(
            resolved,
            RunFolder(Path(out)),
            resume=resume,
            overwrite=overwrite,
            on_event=tell,
            result_files=_result_files,
        )
    classes = next(iter(result.documents.values()))["classes"] if result.documents else ()
    if any(not name.isascii() for name in classes):
        from skinlesion_cli.report.fonts import undrawable

        if text := undrawable(classes):
            on_event(Warned(text))
    return result


def _result_files() -> ModuleType:
    # Imported late, because of matplotlib: errors in the input are reported first.
    from skinlesion_cli.report import results

    return results
