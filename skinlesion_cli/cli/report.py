"""`skinlesion report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import option, with_settings
from skinlesion_cli.cli.progress import Display
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import ensure_writable_file
from skinlesion_cli.common.settings import Settings

if TYPE_CHECKING:
    from skinlesion_cli.report.facts import RunFacts
    from skinlesion_cli.report.mistakes import Pictures

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
    from skinlesion_cli.report.card import require_replaceable, write_card
    from skinlesion_cli.report.facts import read_run
    from skinlesion_cli.report.page import default_title, write_page

    target = card or out.parent / CARD
    # With these suffixes, neither can replace a file of the run.
    for flag, path, suffixes in (("--out", out, (".html", ".htm")), ("--card", target, (".md",))):
        if path.suffix.lower() not in suffixes:
            raise InputError(f"{flag} {path}: the name must end in {suffixes[0]}")
    facts = read_run(run, data, images_root)
    for flag, path in (("--out", out), ("--card", target)):
        ensure_writable_file(path, option=flag)
    require_replaceable(target)
    pictures, note = (
        _pictures(facts, settings.device) if images else ({}, "Photographs were turned off with --no-images.")
    )
    heading = title or default_title(facts)
    write_page(facts, out, title=heading, pictures=pictures, pictures_note=note)
    write_card(facts, target, title=heading)
    if note and images:
        console.note(f"no photographs of errors: {note}")
    console.say(f"page: {out}")
    console.say(f"model card: {target}")
    return 0


def _pictures(facts: "RunFacts", device: str) -> tuple[dict[str, "Pictures"], str]:
    """Photographs of the most confident errors, or why there are none."""
    from skinlesion_cli.data.splits import split_root
    from skinlesion_cli.report.mistakes import draw_mistakes, most_confident

    predictions, checkpoint = facts.predictions, facts.folder.best
    mistakes = most_confident(predictions) if predictions is not None else []
    if not mistakes:
        return {}, ""
    if facts.data_root is None:
        return {}, "The data set's folder was not found; give it with --data."
    if not checkpoint.is_file():
        return {}, f"{checkpoint} was not found."
    with Display() as display:
        folder = split_root(facts.data_root, facts.split, facts.images_root)
        pictures = draw_mistakes(mistakes, checkpoint, folder, device=device, on_event=display.show)
    return pictures, "" if pictures else f"None of the images was found in {folder}."
