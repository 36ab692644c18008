"""`skinlesion data …`: what comes before training."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import JsonOption, with_settings
from skinlesion_cli.common.paper import DEFAULT_RATIOS
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.class_balance import imbalance_ratio

if TYPE_CHECKING:
    from skinlesion_cli.curation.check import Audit

app = typer.Typer(
    help="Audit a data set, or build one from the published downloads.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


RatiosOption = Annotated[
    str, typer.Option("--ratios", metavar="A/B/C", help="Shares of train, val and test.")
]
LinkOption = Annotated[bool, typer.Option("--link", help="Make hard links instead of copies.")]
NearOption = Annotated[
    bool,
    typer.Option(
        "--near/--no-near",
        help="Look for changed copies (turned, cropped, recoloured, …) not only for equal bytes and pixels.",
    ),
]
GroupsOption = Annotated[
    Path | None,
    typer.Option(
        "--groups",
        metavar="FILE.csv",
        help="Lesion or patient of each image: HAM10000's or ISIC 2019's metadata, or any CSV with a file "
        "and a group column.",
    ),
]


@app.command("check")
@with_settings("num_workers")
def check(
    *,
    settings: Settings,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data set's folder.")],
    groups: GroupsOption = None,
    near: NearOption = True,
    json: JsonOption = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Also write a page with the pairs.")
    ] = None,
) -> int:
    """Audit a data set: unreadable files, copies of one photograph, groups on two sides.

    Exit code 1 when there are leaks between splits or unreadable files.
    """
    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.common.files import ensure_writable_file
    from skinlesion_cli.curation.check import audit
    from skinlesion_cli.curation.groups import read_groups
    from skinlesion_cli.curation.inventory import take_inventory
    from skinlesion_cli.curation.record import remember_check
    from skinlesion_cli.data.manifest import MANIFEST
    from skinlesion_cli.data.workers import worker_count

    if report is not None:
        ensure_writable_file(report)
    if groups is None and (folder / MANIFEST).is_file():
        groups = folder / MANIFEST
    known = read_groups(groups) if groups is not None else {}
    workers = worker_count(settings.num_workers)
    with Display() as display:
        inventory = take_inventory(folder, workers=workers, on_event=display.show)
        found = audit(inventory, known, near=near, workers=workers, on_event=display.show)
    for reason in inventory.unreadable.values():
        console.warn(reason)
    for remark in inventory.remarks:
        console.warn(remark)
    if report is not None:
        from skinlesion_cli.report.leaks import write_page

        write_page(found, report)
        console.note(f"page: {report}")
    if json:
        console.print_json(found.to_json())
    else:
        _print_audit(found)
    remember_check(folder, found.verdict(), leaking=found.leaking)
    return 1 if found.leaking or inventory.unreadable else 0


@app.command("split")
@with_settings("seed", "num_workers")
def split(
    *,
    settings: Settings,
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="One folder a class, or a CSV file of file,label.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the data set.")],
    groups: GroupsOption = None,
    near: NearOption = True,
    ratios: RatiosOption = DEFAULT_RATIOS,
    link: LinkOption = False,
) -> int:
    """Split photographs into train, val and test: stratified, no group and no copy on two sides."""
    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.common.errors import InputError
    from skinlesion_cli.curation.duplicates import find_duplicates
    from skinlesion_cli.curation.groups import read_groups
    from skinlesion_cli.curation.labelled import read_labelled, with_groups
    from skinlesion_cli.curation.prepare import build_data_set
    from skinlesion_cli.curation.split import parse_ratios
    from skinlesion_cli.data.images import check_images
    from skinlesion_cli.data.workers import worker_count

    shares = parse_ratios(ratios)
    labelled = read_labelled(source)
    known = read_groups(groups) if groups is not None else {}
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty; name a new folder with --out")
    paths = [path for path, _ in labelled]
    check_images(paths)
    with Display() as display:
        workers = worker_count(settings.num_workers)
        pairs = find_duplicates(paths, near=near, workers=workers, on_event=display.show)
        photos = with_groups(labelled, pairs, known, source.name)
        rows = build_data_set(
            photos, out, ratios=shares, seed=settings.seed, link=link, on_event=display.show
        )
    console.out.print(_table(Counter((row.label, row.split) for row in rows)))
    console.out.print(f"\n{len(rows)} images in {len({row.group for row in rows})} groups, none on two sides")
    console.note(f"images and manifest.csv: {out}")
    return 0


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
    ratios: RatiosOption = DEFAULT_RATIOS,
    link: LinkOption = False,
) -> int:
    """Build the 14-class data set from the published downloads.

    Originals only, each image once, and no lesion or patient on two sides.
    """
    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.common.errors import InputError
    from skinlesion_cli.curation import sources
    from skinlesion_cli.curation.prepare import build_data_set
    from skinlesion_cli.curation.split import parse_ratios

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
    console.out.print(_table(Counter((row.label, row.split) for row in rows)))
    for download in downloads:
        source = download.source
        console.out.print(f"\n{source.name}: {len(download.photos)} images taken", soft_wrap=True)
        for reason, number in download.left_out.items():
            console.say(f"  left out {number}: {reason}")
        console.say(f"  licence: {source.licence}")
        console.say(f"  cite: {source.citation}")
    console.note(f"{len(rows)} images and manifest.csv: {out}")
    return 0


PAIRS_PRINTED = 20


def _print_audit(found: "Audit") -> None:
    counts = Counter((image.label, image.split) for image in found.inventory.images)
    console.out.print(_table(counts))
    by_split = found.inventory.counts()
    for split in list(by_split)[:1]:
        ratio = imbalance_ratio(list(by_split[split].values()))
        console.out.print(f"\nimbalance ratio in {split}: {ratio:.1f} : 1")
    for title, values in (
        ("sizes", Counter(f"{image.size[0]}×{image.size[1]}" for image in found.inventory.images)),
        ("colour modes", Counter(image.mode for image in found.inventory.images)),
    ):
        common = ", ".join(f"{name} ({number})" for name, number in values.most_common(5))
        console.say(f"{title}: {common}")
    if found.inventory.not_images:
        console.out.print(f"files that are no images: {len(found.inventory.not_images)}")
    for pair in found.pairs[:PAIRS_PRINTED]:
        marks = ["across splits"] if pair.across_splits else []
        marks += [] if pair.same_class else ["DIFFERENT CLASSES"]
        line = f"{pair.kind:<6} {pair.a.file} = {pair.b.file}  {', '.join(marks)}"
        console.say(line.rstrip())
    if len(found.pairs) > PAIRS_PRINTED:
        console.out.print(
            f"… and {len(found.pairs) - PAIRS_PRINTED} pairs more (--json or --report shows all)"
        )
    if found.groups_across_splits:
        names = ", ".join(found.groups_across_splits[:5])
        more = ", …" if len(found.groups_across_splits) > 5 else ""
        text = f"{len(found.groups_across_splits)} groups on more than one side: {names}{more}"
        console.say(text)
    console.out.print(f"\n{found.verdict()}", soft_wrap=True)


def _table(counts: Counter[tuple[str, str]]) -> Table:
    from skinlesion_cli.data.splits import SPLITS

    present = {split for _, split in counts}
    splits = [split for split in SPLITS if split in present] or sorted(present)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Class")
    for split in splits:
        table.add_column(split, justify="right")
    for label in sorted({label for label, _ in counts}):
        table.add_row(Text(console.printable(label)), *(str(counts[label, split]) for split in splits))
    return table
