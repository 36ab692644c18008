"""`skinlesion train`."""

from pathlib import Path
from typing import Annotated

from skinlesion_cli.cli.options import option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.settings import FIELDS, Settings
from skinlesion_cli.common.world import has_joined

_OUT = option(
    "--out",
    "Folder for checkpoints/ and results/. Default: the current folder.",
    "DIR",
    envvar="SKINLESION_OUT",
)


@with_settings(*FIELDS)
def train(
    *,
    settings: Settings,
    out: Annotated[Path, _OUT] = Path(),
    resume: Annotated[bool, option("--resume", "Continue from checkpoints/last.pth.")] = False,
    overwrite: Annotated[bool, option("--overwrite", "Replace an earlier run in --out.")] = False,
) -> int:
    """Train a classifier on DATA/train, select the epoch on DATA/val, score it on all splits."""
    from skinlesion_cli.api.train import train as train_model
    from skinlesion_cli.cli.terminal.tables import summary_table
    from skinlesion_cli.report.figures import method
    from skinlesion_cli.training.run_folder import RunFolder

    folder = RunFolder(out)
    try:
        with Display() as display:
            result = train_model(settings, out=out, resume=resume, overwrite=overwrite, on_event=display.show)
    finally:
        if has_joined():
            console.hush()
    if result.documents:
        console.out.print(summary_table(result.documents))
        console.paragraph(f"95% intervals: {method(result.documents['val'])}")
        best = f"best epoch {result.best_epoch} of {len(result.history)}: {result.checkpoint}"
        console.out.print(f"\n{best}", soft_wrap=True)
        console.out.print(f"scores and figures: {folder.results}", soft_wrap=True)
        if result.unreadable:
            # Repeated, because it explains the exit code.
            number = len(result.unreadable)
            console.warn(f"{number} files could not be read and were left out: {folder.unreadable}")
    return 1 if result.unreadable else 0
