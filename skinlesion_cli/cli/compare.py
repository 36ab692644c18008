"""`skinlesion compare`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import JsonOption, with_settings
from skinlesion_cli.common.settings import Settings

if TYPE_CHECKING:
    from skinlesion_cli.metrics.paired import Pair


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
            help="The data set's manifest.csv: whole lesions or patients are resampled, not images.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Split of the images in the manifest.")
    ] = "test",
    json: JsonOption = False,
) -> int:
    """Compare two models image by image: how much better is B than A, and is it more than chance?"""
    from skinlesion_cli.data.manifest import groups_in
    from skinlesion_cli.metrics import paired as comparison
    from skinlesion_cli.metrics.predictions import read_predictions

    pair = comparison.pair(read_predictions(a), read_predictions(b), (str(a), str(b)))
    groups = groups_in(manifest, split, pair.a.images) if manifest is not None else None
    document = comparison.compare(pair, groups, seed=settings.seed)
    for text in document["warnings"]:
        console.warn(text)
    if json:
        console.print_json(document)
    else:
        _print(document, pair, (a, b), grouped=groups is not None)
    return 0


def _print(document: Mapping[str, Any], pair: "Pair", files: tuple[Path, Path], *, grouped: bool) -> None:
    for letter, path in zip("AB", files, strict=True):
        console.out.print(Text(f"{letter}: {console.printable(str(path))}"), soft_wrap=True)
    console.out.print(f"{document['n']} images, {len(pair.a.classes)} classes; differences are B − A\n")
    console.out.print(_summary_table(document))
    console.out.print()
    console.out.print(_class_table(document))
    alone = document["mcnemar"]
    console.out.print(
        f"\nRight in A alone: {alone['only_a_right']} images, in B alone: {alone['only_b_right']}; "
        f"McNemar's exact test: p = {document['mcnemar_p']:.3g}"
        + (" (takes images as independent; the intervals do not)" if grouped else "")
    )
    console.out.print(f"95 % intervals: {document['ci95_method']}")


def _summary_table(document: Mapping[str, Any]) -> Table:
    from skinlesion_cli.report.figures import LABELS, figure

    table = _empty_table("", "A", "B", "Difference")
    for name, label in LABELS.items():
        one = document["differences"][name]
        table.add_row(label, figure(one["a"]), figure(one["b"]), _difference(one))
    return table


def _class_table(document: Mapping[str, Any]) -> Table:
    from skinlesion_cli.report.figures import figure

    table = _empty_table("Recall of", "A", "B", "Difference", "Images", "Gained", "Lost")
    for name, one in document["per_class"].items():
        counts = (str(one[key]) for key in ("support", "gained", "lost"))
        recalls = (figure(one["a_recall"]), figure(one["b_recall"]))
        table.add_row(Text(console.printable(name)), *recalls, _difference(one), *counts)
    return table


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
