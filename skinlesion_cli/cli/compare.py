"""`skinlesion compare`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import JsonOption, with_settings
from skinlesion_cli.common.settings import Settings


@with_settings("seed")
def compare(
    *,
    settings: Settings,
    a: Annotated[Path, typer.Argument(metavar="A.csv", help="Predictions of one model, with y_true.")],
    b: Annotated[Path, typer.Argument(metavar="B.csv", help="Predictions of another on the same images.")],
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            metavar="FILE",
            help="The data set's manifest.csv: resample whole lesions or patients instead of images.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Split of the images in the manifest.")
    ] = "test",
    json: JsonOption = False,
) -> int:
    """Compare two models image by image: how much better is B than A, and is it more than chance?"""
    from skinlesion_cli.api import evaluate as api

    document = api.compare(a, b, manifest=manifest, split=split, seed=settings.seed).to_dict()
    for text in document["warnings"]:
        console.warn(text)
    if json:
        console.print_json(document)
    else:
        _print(document, (a, b))
    return 0


def _print(document: Mapping[str, Any], files: tuple[Path, Path]) -> None:
    from skinlesion_cli.report.figures import LABELS, figure

    for letter, path in zip("AB", files, strict=True):
        console.out.print(Text(f"{letter}: {console.printable(str(path))}"), soft_wrap=True)
    classes = document["per_class"]
    console.out.print(f"{document['n']} images, {len(classes)} classes; differences are B − A\n")
    summary = _empty_table("", "A", "B", "Difference")
    for name, label in LABELS.items():
        one = document["differences"][name]
        summary.add_row(label, figure(one["a"]), figure(one["b"]), _difference(one))
    console.out.print(summary)
    console.out.print()
    recalls = _empty_table("Recall of", "A", "B", "Difference", "Images", "Gained", "Lost")
    for name, one in classes.items():
        counts = (str(one[key]) for key in ("support", "gained", "lost"))
        of_both = (figure(one["a_recall"]), figure(one["b_recall"]))
        recalls.add_row(Text(console.printable(name)), *of_both, _difference(one), *counts)
    console.out.print(recalls)
    alone, grouped = document["mcnemar"], document["resampling_unit"] == "groups"
    console.out.print(
        f"\nRight only in A: {alone['only_a_right']} images, only in B: {alone['only_b_right']}; "
        f"McNemar's exact test: p = {document['mcnemar_p']:.3g}"
        + (" (treats images as independent; the intervals do not)" if grouped else "")
    )
    console.out.print(f"95 % intervals: {document['ci95_method']}")


def _empty_table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _difference(one: Mapping[str, Any]) -> str:
    """A signed difference with its interval, or a dash."""
    if one["difference"] is None:
        return "–"
    shown = f"{one['difference']:+.4f}"
    return shown if one["ci95"] is None else f"{shown}  [{one['ci95'][0]:+.3f}, {one['ci95'][1]:+.3f}]"
