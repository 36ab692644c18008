"""What `skinlesion data` prints: counts per class and split, and the findings of an audit."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.layout import Table
from skinlesion_cli.cli.terminal.section_text import drawn
from skinlesion_cli.common.errors import first_few
from skinlesion_cli.common.text import printable
from skinlesion_cli.data.class_balance import imbalance_ratio
from skinlesion_cli.data.folders import kinds_of
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.report.sections.audit import class_counts

if TYPE_CHECKING:
    from skinlesion_cli.curation.audit import Audit
    from skinlesion_cli.curation.label_check import LabelCheck

PAIRS_PRINTED, LABELS_PRINTED = 20, 20


def counts_table(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """One row per class, one column per split, with the number of images."""
    return drawn(class_counts(counts))


def print_audit(found: "Audit") -> None:
    """Counts, image sizes, the first pairs, groups that span splits, and the verdict."""
    inventory, counts = found.inventory, found.inventory.counts()
    console.out.print(counts_table(counts))
    for split, of_split in list(counts.items())[:1]:
        console.out.print(f"\nimbalance ratio in {split}: {imbalance_ratio([*of_split.values()]):.1f} : 1")
    for title, values in (
        ("sizes", Counter(f"{image.size[0]}×{image.size[1]}" for image in inventory.images)),
        ("colour modes", Counter(image.mode for image in inventory.images)),
    ):
        console.say(f"{title}: {', '.join(f'{name} ({n})' for name, n in values.most_common(5))}")
    if profiles := inventory.profiles():
        names = ", ".join(f"{name} ({n})" for name, n in profiles.items())
        console.say(f"colour profiles, converted to sRGB unless damaged: {names}")
    if cut := inventory.cut_by_crop():
        hint = "; --fit pad shows all of them" if cut["images"] else ""
        console.say(
            f"cut by more than a quarter of its area by the centre crop: {cut['images']} images "
            f"({cut['share']:.0%}; median of all {cut['median']:.0%}){hint}"
        )
    if inventory.not_images:
        kinds = kinds_of(map(Path, inventory.not_images))
        console.say(f"files that are not images: {len(inventory.not_images)}: {kinds}")
    for pair in found.pairs[:PAIRS_PRINTED]:
        marks = ["across splits"] if pair.across_splits else []
        marks += [] if pair.same_class else ["DIFFERENT CLASSES"]
        console.say(f"{pair.kind:<6} {pair.a.file} = {pair.b.file}  {', '.join(marks)}".rstrip())
    if (more := len(found.pairs) - PAIRS_PRINTED) > 0:
        console.say(f"… and {more} more pairs (--json or --report shows all)")
    console.say(found.coverage)
    if spanning := found.groups_across_splits:
        console.say(f"{len(spanning)} groups span more than one split: {first_few(spanning, 5)}")
    if found.labels is not None:
        print_labels(found.labels)
    console.out.print(f"\n{found.verdict()}", soft_wrap=True)


def print_labels(found: "LabelCheck") -> None:
    """The most suspicious labels, and how many there are."""
    heads = ("Image", "Label", "Probability", "Suggested", "Its probability")
    rows = [
        (
            printable(one.file),
            printable(one.label),
            probability_text(one.probability),
            printable(one.suggested),
            probability_text(one.suggested_probability),
        )
        for one in found.doubts[:LABELS_PRINTED]
    ]
    console.out.print()
    console.out.print(console.table(heads, rows, left=(0, 1, 3)))
    console.say(f"{found.summary()} (--json or --report shows more)")
