"""The audit of a data set, for its page and the terminal."""

from collections.abc import Mapping

from skinlesion_cli.data.splits import SPLITS
from skinlesion_cli.report.content import Table, table


def class_counts(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """Number of images: a row per class, a column per split."""
    splits = [split for split in SPLITS if split in counts] or sorted(counts)
    labels = sorted({label for of_split in counts.values() for label in of_split})
    rows = ((label, *(counts[split].get(label, 0) for split in splits)) for label in labels)
    return table("Images of each class in each split", ("Class", *splits), rows, sortable=True)
