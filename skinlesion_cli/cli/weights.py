"""`skinlesion weights`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import JsonOption, with_settings
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.class_balance import (
    PUBLISHED_COUNTS,
    ClassBalance,
    balance_table,
    imbalance_ratio,
    read_counts,
)


@with_settings("sampler_alpha", "loss_beta")
def weights(
    *,
    settings: Settings,
    counts: Annotated[
        Path | None, typer.Option("--counts", metavar="FILE.csv", help="Counts from a class,count CSV file.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Counts from the folders of DIR/train.")
    ] = None,
    json: JsonOption = False,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write the table.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Also draw counts and weights.")
    ] = None,
) -> int:
    """Show each class's effective number, loss weight and sampling probability.

    Without --counts or --data the counts are those of the paper's training split.
    """
    from skinlesion_cli.common.errors import InputError
    from skinlesion_cli.common.files import ensure_writable_file, write_csv

    if counts is not None and data is not None:
        raise InputError("--counts and --data exclude each other")
    numbers = _counts(counts, data)
    table = balance_table(numbers, settings.loss_beta, settings.sampler_alpha)
    ratio = imbalance_ratio(list(numbers.values()))
    for path in (csv, plot):
        if path is not None:
            ensure_writable_file(path)
    rows = [_row(one) for one in table]
    if csv is not None:
        write_csv(csv, list(rows[0]), [list(row.values()) for row in rows])
        console.note(f"table: {csv}")
    if plot is not None:
        from skinlesion_cli.report.drawing import save_figure
        from skinlesion_cli.report.plots import class_weights

        save_figure(class_weights(table, beta=settings.loss_beta, alpha=settings.sampler_alpha), plot)
        console.note(f"picture: {plot}")
    if json:
        document = {"beta": settings.loss_beta, "alpha": settings.sampler_alpha}
        console.print_json(document | {"imbalance_ratio": ratio, "classes": rows})
        return 0
    console.out.print(_table(table))
    console.out.print(
        f"\n{sum(numbers.values())} images, imbalance ratio {ratio:.1f} : 1, "
        f"beta {settings.loss_beta:g}, alpha {settings.sampler_alpha:g}"
        + (" (the paper's counts)" if counts is None and data is None else "")
    )
    return 0


def _counts(counts: Path | None, data: Path | None) -> dict[str, int]:
    if counts is not None:
        return read_counts(counts)
    if data is not None:
        from skinlesion_cli.data.splits import read_split

        return read_split(data, "train").counts
    return PUBLISHED_COUNTS


def _row(one: ClassBalance) -> dict[str, str | int | float]:
    return {
        "name": one.name,
        "count": one.count,
        "share": one.share,
        "effective_number": one.effective_number,
        "weight": one.weight,
        "sampling_probability": one.sampling_probability,
    }


def _table(table: list[ClassBalance]) -> Table:
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    drawn.add_column("Class")
    for name in ("Images", "Share", "Effective number", "Loss weight", "Sampling probability"):
        drawn.add_column(name, justify="right")
    for one in table:
        drawn.add_row(
            Text(console.printable(one.name)),
            str(one.count),
            f"{one.share:.2%}",
            f"{one.effective_number:.1f}",
            f"{one.weight:.2f}",
            f"{one.sampling_probability:.2%}",
        )
    return drawn
