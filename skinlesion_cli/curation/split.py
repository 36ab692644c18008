"""A stratified split in which no group spans two splits."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.paper import DEFAULT_RATIOS
from skinlesion_cli.data.splits import SPLITS

Ratios = tuple[float, float, float]


def parse_ratios(text: str) -> Ratios:
    """Shares of train, val and test from three numbers above 0 such as 80/10/10; they sum to 1."""
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != len(SPLITS) or not all(0 < part < 1e9 for part in parts):
        raise InputError(f"--ratios: {text!r} is not three numbers above 0 such as {DEFAULT_RATIOS}")
    train, val, test = (part / sum(parts) for part in parts)
    return train, val, test


def split_groups(labels: Sequence[str], groups: Sequence[str], ratios: Ratios, seed: int) -> list[str]:
    """The split of each image, by `assign_groups`."""
    return assign_groups(labels, groups, dict(zip(SPLITS, ratios, strict=True)), seed)


def assign_groups(
    labels: Sequence[str], groups: Sequence[str], shares: Mapping[str, float], seed: int
) -> list[str]:
    """The split of each image: no group spans two splits, and each class is close to the splits' shares.

    Unlike scikit-learn's StratifiedGroupKFold, every split gets every class.

    The rarest class is assigned first, because it has the fewest groups to choose from. Each group goes to
    the split in which its class lacks the most images, large groups before small ones. A group may contain
    images of several classes. `seed` determines the order of groups of equal size. InputError if a class has
    fewer groups than there are splits.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for label, group in zip(labels, groups, strict=True):
        counts[group][label] += 1
    order = sorted(counts)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -counts[group].total())
    totals = Counter(labels)
    lacking = {label: {split: share * n for split, share in shares.items()} for label, n in totals.items()}
    assigned: dict[str, str] = {}
    for label in sorted(totals, key=lambda name: (totals[name], name)):
        with_label = [group for group in order if label in counts[group]]
        if len(with_label) < len(shares):
            fault = f"the class {label!r} has {len(with_label)} groups (lesions, patients or single images)"
            raise InputError(f"{fault}; a split needs at least {len(shares)}")
        waiting = [group for group in with_label if group not in assigned]
        present = {assigned[group] for group in with_label if group in assigned}
        for position, group in enumerate(waiting):
            empty = [split for split in shares if split not in present]
            # The last groups must go where the class is still missing.
            allowed = empty if empty and len(waiting) - position <= len(empty) else list(shares)
            assigned[group] = split = max(allowed, key=lambda split: lacking[label][split])
            present.add(split)
            for name, count in counts[group].items():
                lacking[name][split] -= count
    return [assigned[group] for group in groups]
