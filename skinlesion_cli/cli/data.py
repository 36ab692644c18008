"""`skinlesion data …`: what comes before training."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import with_settings
from skinlesion_cli.core.settings import Settings
from skinlesion_cli.data.splitting import DEFAULT_RATIOS

app = typer.Typer(
    help="Build a data set from the published downloads.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _group() -> None:
    # With a callback, typer keeps the subcommand's name although it is the only one.
    pass


@app.command("prepare")
@with_settings("seed")
def prepare(
    *,
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the data set.")],
    ham10000: Annotated[
        Path | None,
        typer.Option(
            "--ham10000", metavar="DIR", help="HAM10000: both image parts and HAM10000_metadata.csv."
        ),
    ] = None,
    isic2019: Annotated[
        Path | None,
        typer.Option(
            "--isic2019", metavar="DIR", help="ISIC 2019: ISIC_2019_Training_Input and its two tables."
        ),
    ] = None,
    msld: Annotated[
        Path | None, typer.Option("--msld", metavar="DIR", help="MSLD v2.0: its Original Images, any folds.")
    ] = None,
    ratios: Annotated[
        str, typer.Option("--ratios", metavar="A/B/C", help="Shares of train, val and test.")
    ] = DEFAULT_RATIOS,
    link: Annotated[bool, typer.Option("--link", help="Make hard links instead of copies.")] = False,
) -> int:
    """Build the 14-class data set from the published downloads.

    Originals only, each image once, and no lesion or patient on two sides.
    """
    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.core.errors import InputError
    from skinlesion_cli.data import sources
    from skinlesion_cli.data.prepare import build_data_set
    from skinlesion_cli.data.splitting import parse_ratios

    shares = parse_ratios(ratios)
    truth = sources.read_isic2019_truth(isic2019) if isic2019 is not None else None
    downloads = []
    if ham10000 is not None:
        downloads.append(sources.read_ham10000(ham10000, truth))
    if isic2019 is not None and truth is not None:
        downloads.append(sources.read_isic2019(isic2019, truth))
    if msld is not None:
        downloads.append(sources.read_msld(msld))
    if not downloads:
        raise InputError("name at least one download: --ham10000, --isic2019 or --msld")
    downloads = sources.without_repeats(downloads)
    photos = [photo for download in downloads for photo in download.photos]
    with Display() as display:
        rows = build_data_set(
            photos, out, ratios=shares, seed=settings.seed, link=link, on_event=display.show
        )
    counts = Counter((row.label, row.split) for row in rows)
    console.out.print(_table(counts))
    for download in downloads:
        source = download.source
        console.out.print(f"\n{source.name}: {len(download.photos)} images taken", soft_wrap=True)
        for reason, number in download.left_out.items():
            console.out.print(f"  left out {number}: {reason}", soft_wrap=True)
        console.out.print(f"  licence: {source.licence}", soft_wrap=True)
        console.out.print(f"  cite: {source.citation}", soft_wrap=True)
    console.note(f"{len(rows)} images and manifest.csv: {out}")
    return 0


def _table(counts: Counter[tuple[str, str]]) -> Table:
    from skinlesion_cli.core.folders import SPLITS

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Class")
    for split in SPLITS:
        table.add_column(split, justify="right")
    for label in sorted({label for label, _ in counts}):
        table.add_row(label, *(str(counts[label, split]) for split in SPLITS))
    return table
