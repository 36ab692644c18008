"""A stratified split in which no group is on two sides."""

import random
from collections import Counter
from collections.abc import Sequence

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.paper import DEFAULT_RATIOS
from skinlesion_cli.data.splits import SPLITS


def parse_ratios(text: str) -> tuple[float, float, float]:
    """Shares of train, val and test from a text like 80/10/10; they sum to 1.

    Raises:
        InputError: it is not three numbers above 0.
    """
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != len(SPLITS) or not all(0 < part < 1e9 for part in parts):
        raise InputError(f"--ratios: {text!r} is not three numbers above 0 like {DEFAULT_RATIOS}")
    train, val, test = (part / sum(parts) for part in parts)
    return train, val, test


def split_groups(
    labels: Sequence[str], groups: Sequence[str], ratios: tuple[float, float, float], seed: int
) -> list[str]:
    """Give each image a split: whole groups to one side, each class near the ratios.

    The rarest class is dealt first, since its groups leave the least choice. Each group goes where its
    class lacks most images, large ones before small ones, and no split is left without a class.

    Args:
        labels: class of each image.
        groups: group of each image; a group may hold images of several classes.
        ratios: shares of train, val and test, as `parse_ratios` gives them.
        seed: of the order among groups of one size.

    Returns:
        "train", "val" or "test" for each image.

    Raises:
        InputError: a class has fewer groups than there are splits.
    """
    contents: dict[str, Counter[str]] = {}
    for label, group in zip(labels, groups, strict=True):
        contents.setdefault(group, Counter())[label] += 1
    order = sorted(contents)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -contents[group].total())

    totals = Counter(labels)
    lacking = {
        label: {split: share * total for split, share in zip(SPLITS, ratios, strict=True)}
        for label, total in totals.items()
    }
    assigned: dict[str, str] = {}
    for label in sorted(totals, key=lambda name: (totals[name], name)):
        _require_enough_groups(label, contents)
        waiting = [group for group in order if label in contents[group] and group not in assigned]
        present = {assigned[group] for group in order if label in contents[group] and group in assigned}
        for position, group in enumerate(waiting):
            empty = [split for split in SPLITS if split not in present]
            # Towards the end, what is left must go where the class is still missing.
            allowed = empty if empty and len(waiting) - position <= len(empty) else list(SPLITS)
            side = max(allowed, key=lambda split: lacking[label][split])
            assigned[group] = side
            present.add(side)
            for name, count in contents[group].items():
                lacking[name][side] -= count
    return [assigned[group] for group in groups]


def _require_enough_groups(label: str, contents: dict[str, Counter[str]]) -> None:
    count = sum(label in content for content in contents.values())
    if count < len(SPLITS):
        raise InputError(
            f"the class {label!r} has {count} groups (lesions or patients); {len(SPLITS)} sides need as many"
        )
