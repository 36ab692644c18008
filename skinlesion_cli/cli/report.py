"""`skinlesion report`."""

from pathlib import Path
from typing import Annotated

import typer

from skinlesion_cli.cli.options import option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.settings import Settings

CARD = "MODEL_CARD.md"
_CARD = option("--card", f"The model card. Default: {CARD} beside the page.", "FILE.md")
_IMAGES = option("--images/--no-images", "Show photographs of the most confident errors.")
_DATA = option("--data", "The data set, a folder or a table. Default: as in the run's settings.", "PATH")
_ROOT = option("--images-root", "Folder that the files of a table are relative to.", "DIR")


@with_settings("device")
def report(
    *,
    settings: Settings,
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder that train wrote. Default: the current folder.")
    ] = Path(),
    out: Annotated[Path, option("--out", "The page.", "FILE.html")] = Path("report.html"),
    card: Annotated[Path | None, _CARD] = None,
    images: Annotated[bool, _IMAGES] = True,
    title: Annotated[str | None, option("--title", "Title of the page and the card.", "TEXT")] = None,
    data: Annotated[Path | None, _DATA] = None,
    images_root: Annotated[Path | None, _ROOT] = None,
) -> int:
    """Make a self-contained HTML page and a model card from a finished run."""
    from skinlesion_cli.api.report import report_run

    target = card or out.parent / CARD
    with Display() as display:
        report_run(
            run,
            out,
            target,
            data=data,
            images_root=images_root,
            title=title,
            images=images,
            device=settings.device,
            on_event=display.show,
        )
    console.say(f"page: {out}")
    console.say(f"model card: {target}")
    return 0
