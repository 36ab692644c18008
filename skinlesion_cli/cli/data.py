"""`skinlesion data`: audit, split and build data sets."""

from pathlib import Path
from typing import Annotated

import typer

from skinlesion_cli.cli.data_build import GroupsOption, NearOption, prepare, split
from skinlesion_cli.cli.help import Command, Group
from skinlesion_cli.cli.options import JsonOption, option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.files import ensure_writable_file
from skinlesion_cli.common.settings import Settings

data = typer.Typer(
    cls=Group,
    help="Audit a data set, split one, or build one from the published downloads.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_REPORT = option("--report", "Also write a page with the pairs.", "FILE.html")
PREDICTIONS = """Out-of-fold predictions, by which suspicious labels are ranked: the folder of a study with
    --folds, or a predictions file."""
_PREDICTIONS = option("--predictions", PREDICTIONS, "STUDY|FILE.csv")


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
    from skinlesion_cli.cli.terminal.data_tables import print_audit

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


data.command("split", cls=Command)(split)
data.command("prepare", cls=Command)(prepare)
