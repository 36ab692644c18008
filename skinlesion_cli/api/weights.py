"""Loss weights and sampling probabilities of the classes, without importing numpy or torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.paper import PUBLISHED_COUNTS
from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.common.tables import Tabular
from skinlesion_cli.data.class_balance import ClassBalance, balance_table, imbalance_ratio, read_counts


@dataclass(frozen=True)
class ClassWeights(Tabular):
    """The balance of a training split."""

    beta: float
    alpha: float
    imbalance_ratio: float
    """Images of the largest class per image of the smallest."""
    classes: tuple[ClassBalance, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict per class, with the fields of `ClassBalance`."""
        return [asdict(one) for one in self.classes]

    def to_dict(self) -> dict[str, Any]:
        """The document that `skinlesion weights --json` prints."""
        return asdict(self) | {"classes": self.rows()}


def weights(
    counts: Mapping[str, int] | None = None,
    *,
    data: str | Path | None = None,
    images: str | Path | None = None,
    counts_file: str | Path | None = None,
    beta: float = FIELDS["loss_beta"].default,
    alpha: float = FIELDS["sampler_alpha"].default,
    on_event: OnEvent = ignore,
) -> ClassWeights:
    """The effective number, loss weight and sampling probability of each class.

    Without `counts`, `data` or `counts_file` the counts are those of the paper's training split.

    Args:
        counts: images of each class, each at least 1.
        data: a data set, a folder or a table, whose training images are counted.
        images: the folder that the files of a table are relative to; None for the table's own.
        counts_file: a CSV file with the columns class (or name) and count.
        beta: of the loss weights (Cui et al. 2019), in [0, 1]: 0 is unweighted, 1 the inverse frequency.
        alpha: of the sampler, in [0, 1]: 0 is uniform, 1 by frequency.
        on_event: receives notes on files that are skipped.

    Returns:
        The classes in the order of the counts; their weights have mean 1, their probabilities sum to 1.

    Raises:
        InputError: more than one source of counts, one that cannot be read, no class, a count below 1, or
            `beta` or `alpha` out of range.
    """
    if sum(source is not None for source in (counts, data, counts_file)) > 1:
        raise InputError("give only one of counts, data and counts_file")
    if counts_file is not None:
        counts = read_counts(Path(counts_file))
    elif data is not None:
        from skinlesion_cli.data.splits import read_splits

        root = None if images is None else Path(images)
        counts = read_splits(Path(data), ["train"], on_event=on_event, images_root=root)["train"].counts
    elif counts is None:
        counts = PUBLISHED_COUNTS
    table = balance_table(counts, beta, alpha)
    return ClassWeights(beta, alpha, imbalance_ratio(list(counts.values())), tuple(table))
