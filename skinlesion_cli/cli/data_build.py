"""`skinlesion data split` and `skinlesion data prepare`."""

from pathlib import Path
from typing import Annotated

import typer

from skinlesion_cli.cli.options import option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.paper import DEFAULT_RATIOS
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.suffixes import is_table_name

NEAR = "Look for changed copies (rotated, cropped, recoloured, …), not only equal bytes and pixels."
NearOption = Annotated[bool, option("--near/--no-near", NEAR)]
GROUPS = """Lesion or patient of each image: the metadata of HAM10000 or ISIC 2019, or any CSV file with a
    file column and one or more ID columns (patient_id, lesion_id, …); missing IDs count as unknown."""
GroupsOption = Annotated[Path | None, option("--groups", GROUPS, "FILE.csv")]
OutOption = Annotated[Path, option("--out", "A new folder for the data set.", "DIR")]
SplitOutOption = Annotated[Path, option("--out", "A new folder; or a table, without copies.", "DIR|FILE.csv")]
RatiosOption = Annotated[str, option("--ratios", "Shares of train, val and test.", "A/B/C")]
LinkOption = Annotated[bool, option("--link", "Make hard links instead of copies.")]
_SOURCE = typer.Argument(metavar="SRC", help="One folder per class, or a table (file,label).")
_HAM10000 = option("--ham10000", "HAM10000: both image parts and HAM10000_metadata.csv.", "DIR")
_ISIC2019 = option("--isic2019", "ISIC 2019: ISIC_2019_Training_Input and its two tables.", "DIR")
_MSLD = option("--msld", "MSLD v2.0: its Original Images, any folds.", "DIR")


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
    from skinlesion_cli.cli.terminal.data_tables import counts_table
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
    made = f"table: {out}; train on it with --data {out}{there}"
    console.note(made if is_table_name(out) else f"images and manifest.csv: {out}")
    return 0


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
    from skinlesion_cli.cli.terminal.data_tables import counts_table
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
