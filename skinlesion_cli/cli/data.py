"""`skinlesion data`: audit, split and build data sets."""

from pathlib import Path
from typing import Annotated

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.help import Command, Group
from skinlesion_cli.cli.options import JsonOption, option, with_settings
from skinlesion_cli.cli.progress import Display
from skinlesion_cli.common.files import ensure_writable_file
from skinlesion_cli.common.paper import DEFAULT_RATIOS
from skinlesion_cli.common.settings import Settings

data = typer.Typer(
    cls=Group,
    help="Audit a data set, split one, or build one from the published downloads.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

OutOption = Annotated[Path, option("--out", "A new folder for the data set.", "DIR")]
SplitOutOption = Annotated[Path, option("--out", "A new folder; or a table, without copies.", "DIR|FILE.csv")]
RatiosOption = Annotated[str, option("--ratios", "Shares of train, val and test.", "A/B/C")]
LinkOption = Annotated[bool, option("--link", "Make hard links instead of copies.")]
NEAR = "Look for changed copies (rotated, cropped, recoloured, …), not only equal bytes and pixels."
NearOption = Annotated[bool, option("--near/--no-near", NEAR)]
GROUPS = """Lesion or patient of each image: the metadata of HAM10000 or ISIC 2019, or any CSV file with a
    file column and one or more ID columns (patient_id, lesion_id, …); missing IDs count as unknown."""
GroupsOption = Annotated[Path | None, option("--groups", GROUPS, "FILE.csv")]
_REPORT = option("--report", "Also write a page with the pairs.", "FILE.html")
PREDICTIONS = """Out-of-fold predictions, by which suspicious labels are ranked: the folder of a study with
    --folds, or a predictions file."""
_PREDICTIONS = option("--predictions", PREDICTIONS, "STUDY|FILE.csv")
_SOURCE = typer.Argument(metavar="SRC", help="One folder per class, or a table (file,label).")
_HAM10000 = option("--ham10000", "HAM10000: both image parts and HAM10000_metadata.csv.", "DIR")
_ISIC2019 = option("--isic2019", "ISIC 2019: ISIC_2019_Training_Input and its two tables.", "DIR")
_MSLD = option("--msld", "MSLD v2.0: its Original Images, any folds.", "DIR")


@data.command("check", cls=Command)
@with_settings("images_root", "num_workers")
def check(
    *,
    settings: Settings,
    folder: Annotated[Path, typer.Argument(metavar="DATA", help="The data set, a folder or a table.")],
    groups: GroupsOption = None,
    near: NearOption = True,
    predictions: Annotated[Path | None, _PREDICTIONS] = None,
    json: JsonOption = False,
    report: Annotated[Path | None, _REPORT] = None,
) -> int:
    """Audit a data set: unreadable files, duplicates, groups that span splits.

    Exit code 1 if there are leaks between splits or unreadable files, 2 if there is only one class.
    """
    from skinlesion_cli.api.audit import audit
    from skinlesion_cli.cli.data_tables import print_audit

    if report is not None:
        ensure_writable_file(report, ".html", ".htm", option="--report")
    with Display() as display:
        found = audit(
            folder,
            images=settings.images_root,
            groups=groups,
            near=near,
            predictions=predictions,
            num_workers=settings.num_workers,
            on_event=display.show,
        )
    for text in (*found.inventory.unreadable.values(), *found.inventory.remarks):
        console.warn(text)
    if report is not None:
        from skinlesion_cli.report.leaks import write_page

        write_page(found, report)
        console.note(f"page: {report}")
    if json:
        console.print_json(found.to_dict())
    else:
        print_audit(found)
    if found.inventory.one_class:
        return 2
    return 1 if found.leaking or found.inventory.unreadable else 0


@data.command("split", cls=Command)
@with_settings("images_root", "seed", "num_workers")
def split(
    *,
    settings: Settings,
    source: Annotated[Path, _SOURCE],
    out: SplitOutOption,
    groups: GroupsOption = None,
    near: NearOption = True,
    ratios: RatiosOption = DEFAULT_RATIOS,
    link: LinkOption = False,
) -> int:
    """Split photographs into train, val and test: stratified, without leaks.

    No lesion or patient (--groups) spans two splits, and neither do copies of one photograph.
    """
    from skinlesion_cli.cli.data_tables import counts_table
    from skinlesion_cli.curation.build import split_data_set

    with Display() as display:
        built = split_data_set(
            source,
            out,
            images_root=settings.images_root,
            groups=groups,
            near=near,
            ratios=ratios,
            seed=settings.seed,
            link=link,
            num_workers=settings.num_workers,
            on_event=display.show,
        )
    console.out.print(counts_table(built.counts()))
    console.out.print(f"\n{built.summary()}", soft_wrap=True)
    console.say(built.coverage)
    there = f" --images {built.images_root}" if built.images_root else ""
    table = out.suffix.lower() == ".csv"
    console.note(
        f"table: {out}; train on it with --data {out}{there}" if table else f"images and manifest.csv: {out}"
    )
    return 0


@data.command("prepare", cls=Command)
@with_settings("seed")
def prepare(
    *,
    settings: Settings,
    out: OutOption,
    ham10000: Annotated[Path | None, _HAM10000] = None,
    isic2019: Annotated[Path | None, _ISIC2019] = None,
    msld: Annotated[Path | None, _MSLD] = None,
    ratios: RatiosOption = DEFAULT_RATIOS,
    link: LinkOption = False,
) -> int:
    """Build the 14-class data set from the published downloads.

    Only originals, each image once, and no lesion or patient spans two splits.
    """
    from skinlesion_cli.cli.data_tables import counts_table
    from skinlesion_cli.curation.build import prepare_data_set

    folders = {"ham10000": ham10000, "isic2019": isic2019, "msld": msld}
    with Display() as display:
        built = prepare_data_set(
            out, **folders, ratios=ratios, seed=settings.seed, link=link, on_event=display.show
        )
    console.out.print(counts_table(built.counts()))
    for download in built.downloads:
        console.out.print(f"\n{download.source.name}: {len(download.photos)} images taken", soft_wrap=True)
        for reason, number in download.left_out.items():
            console.say(f"  left out {number}: {reason}")
        console.say(f"  licence: {download.source.licence}")
        console.say(f"  cite: {download.source.citation}")
    console.note(f"{len(built.images)} images and manifest.csv: {out}")
    return 0
