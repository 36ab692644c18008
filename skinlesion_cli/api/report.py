"""`report_run`: the page and the model card of a finished run."""

from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Note, OnEvent, ignore
from skinlesion_cli.common.files import ensure_writable_file
from skinlesion_cli.data.splits import split_root
from skinlesion_cli.report.card import require_replaceable, write_card
from skinlesion_cli.report.facts import RunFacts, read_run
from skinlesion_cli.report.mistakes import Pictures, draw_mistakes, most_confident
from skinlesion_cli.report.page import default_title, write_page


def report_run(
    run: Path,
    page: Path,
    card: Path,
    *,
    data: Path | None = None,
    images_root: Path | None = None,
    title: str | None = None,
    images: bool = True,
    device: str = "auto",
    on_event: OnEvent = ignore,
) -> None:
    """Write the page and the model card of a run.

    Args:
        run: the folder that `train` wrote.
        page: the .html file to write.
        card: the .md file to write.
        data: the data set; None for the one in the run's settings.
        images_root: the folder that the files of a table are relative to.
        title: of the page and the card; None for the default one.
        images: whether the page shows photographs of the most confident errors.
        device: as in `load_predictor`.
        on_event: receives notes and progress events.

    Raises:
        InputError: the folder is not that of a finished run, or a file would replace another.
        SkinLesionError: a file cannot be written.
    """
    # With these suffixes, neither can replace a file of the run.
    for flag, path, suffixes in (("--out", page, (".html", ".htm")), ("--card", card, (".md",))):
        if path.suffix.lower() not in suffixes:
            raise InputError(f"{flag} {path}: the name must end in {suffixes[0]}")
    facts = read_run(run, data, images_root)
    for flag, path in (("--out", page), ("--card", card)):
        ensure_writable_file(path, option=flag)
    require_replaceable(card)
    pictures, note = (
        _pictures(facts, device, on_event)
        if images
        else ({}, "Photographs were turned off with --no-images.")
    )
    heading = title or default_title(facts)
    write_page(facts, page, title=heading, pictures=pictures, pictures_note=note)
    write_card(facts, card, title=heading)
    if note and images:
        on_event(Note(f"no photographs of errors: {note}"))


def _pictures(facts: RunFacts, device: str, on_event: OnEvent) -> tuple[dict[str, Pictures], str]:
    """Photographs of the most confident errors, or why there are none."""
    predictions, checkpoint = facts.predictions, facts.folder.best
    mistakes = most_confident(predictions) if predictions is not None else []
    if not mistakes:
        return {}, ""
    if facts.data_root is None:
        return {}, "The data set's folder was not found; give it with --data."
    if not checkpoint.is_file():
        return {}, f"{checkpoint} was not found."
    folder = split_root(facts.data_root, facts.split, facts.images_root)
    pictures = draw_mistakes(mistakes, checkpoint, folder, device=device, on_event=on_event)
    return pictures, "" if pictures else f"None of the images was found in {folder}."
