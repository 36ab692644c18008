"""`skinlesion weights`."""

from pathlib import Path
from typing import Annotated

from skinlesion_cli.cli.options import JsonOption, option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.csv_files import write_csv
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import FIGURES, ensure_writable_file
from skinlesion_cli.common.settings import Settings

_COUNTS = option(
    "--counts", "Counts from a CSV file with class (or name) and count, such as --csv writes.", "FILE.csv"
)
_DATA = option("--data", "Counts from the training images of a data set, a folder or a table.", "PATH")
_COLUMNS = {
    "Class": ("name", ""),
    "Images": ("count", ""),
    "Share": ("share", ".2%"),
    "Effective prior": ("effective_prior", ".2%"),
    "Effective number": ("effective_number", ".1f"),
    "Loss weight": ("weight", ".2f"),
    "Sampling probability": ("sampling_probability", ".2%"),
}
"""Field of `ClassBalance` and format of each column."""


@with_settings("sampler_alpha", "loss_beta", "images_root")
def weights(
    *,
    settings: Settings,
    counts: Annotated[Path | None, _COUNTS] = None,
    data: Annotated[Path | None, _DATA] = None,
    json: JsonOption = False,
    csv: Annotated[Path | None, option("--csv", "Also write the table.", "FILE")] = None,
    plot: Annotated[Path | None, option("--plot", "Also plot counts and weights.", "FILE.png")] = None,
) -> int:
    """Show each class's effective number, loss weight and sampling probability.

    Without --counts or --data the counts are those of the paper's training split.
    """
    from skinlesion_cli.api.weights import weights as class_balance

    if counts is not None and data is not None:
        raise InputError("--counts and --data exclude each other")
    beta, alpha = settings.loss_beta, settings.sampler_alpha
    found = class_balance(
        data=data,
        images=settings.images_root,
        counts_file=counts,
        beta=beta,
        alpha=alpha,
        on_event=Display().show,
    )
    for flag, path, suffixes in (("--csv", csv, (".csv",)), ("--plot", plot, FIGURES)):
        if path is not None:
            ensure_writable_file(path, *suffixes, inputs=[counts] if counts else [], option=flag)
    rows = found.rows()
    if csv is not None:
        write_csv(csv, list(rows[0]), [list(row.values()) for row in rows])
        console.note(f"table: {csv}")
    if plot is not None:
        from skinlesion_cli.report.drawing import save_figure
        from skinlesion_cli.report.fonts import undrawable
        from skinlesion_cli.report.plots import class_weights

        save_figure(class_weights(found.classes, beta=beta, alpha=alpha), plot)
        if text := undrawable(one.name for one in found.classes):
            console.warn(text)
        console.note(f"figure: {plot}")
    if json:
        console.print_json(found.to_dict())
        return 0
    cells = [[format(row[name], form) for name, form in _COLUMNS.values()] for row in rows]
    console.out.print(console.table(_COLUMNS, cells))
    images = sum(one.count for one in found.classes)
    console.paragraph(
        f"\n{images} images, imbalance ratio {found.imbalance_ratio:.1f} : 1, "
        f"beta {beta:g}, alpha {alpha:g}"
        + (" (the paper's counts)" if counts is None and data is None else "")
    )
    return 0
