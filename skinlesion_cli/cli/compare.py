"""`skinlesion compare`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from skinlesion_cli.cli.options import JsonOption, option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.common.settings import Settings

_GROUPS = "The data set's manifest.csv: resample whole lesions or patients instead of images."

_OR_RUN = ", or the folder of its run."


@with_settings("seed")
def compare(
    *,
    settings: Settings,
    a: Annotated[Path, typer.Argument(metavar="A.csv", help=f"Predictions of one model{_OR_RUN}")],
    b: Annotated[
        Path,
        typer.Argument(metavar="B.csv", help=f"Predictions of another model for the same images{_OR_RUN}"),
    ],
    manifest: Annotated[Path | None, option("--manifest", _GROUPS, "FILE")] = None,
    split: Annotated[str, option("--split", "Split of the images.", "NAME")] = "test",
    json: JsonOption = False,
) -> int:
    """Compare two models image by image: how much better is B than A, and is it more than chance?"""
    from skinlesion_cli.api.compare import compare as compare_models

    document = compare_models(a, b, manifest=manifest, split=split, seed=settings.seed).to_dict()
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
        console.say(f"{letter}: {path}")
    classes = document["per_class"]
    console.paragraph(f"{document['n']} images, {len(classes)} classes; differences are B − A\n")
    scores = {label: document["differences"][name] for name, label in LABELS.items()}
    rows = [(label, figure(one["a"]), figure(one["b"]), _difference(one)) for label, one in scores.items()]
    console.out.print(console.table(("", "A", "B", "Difference"), rows))
    console.out.print()
    recalls = []
    for name, one in classes.items():
        counts = (str(one[key]) for key in ("support", "gained", "lost"))
        recalls.append((name, figure(one["a_recall"]), figure(one["b_recall"]), _difference(one), *counts))
    columns = ("Recall of", "A", "B", "Difference", "Images", "Gained", "Lost")
    console.out.print(console.table(columns, recalls))
    alone, grouped = document["mcnemar"], document["resampling_unit"] == "groups"
    console.paragraph(
        f"\nRight only in A: {alone['only_a_right']} images, only in B: {alone['only_b_right']}; "
        f"McNemar's exact test: p = {document['mcnemar_p']:.3g}"
        + (" (treats images as independent; the intervals do not)" if grouped else "")
    )
    console.paragraph(f"95% intervals: {document['ci95_method']}")


def _difference(one: Mapping[str, Any]) -> str:
    """A signed difference with its interval, or a dash."""
    if one["difference"] is None:
        return "–"
    shown = f"{one['difference']:+.4f}"
    return shown if one["ci95"] is None else f"{shown}  [{one['ci95'][0]:+.3f}, {one['ci95'][1]:+.3f}]"
