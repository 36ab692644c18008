import random
from collections import Counter

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.curation.split import parse_ratios, split_groups


def drawn(seed: int) -> tuple[list[str], list[str]]:
    """Labels and groups of an imbalanced data set; groups hold one to six images, some of two classes."""
    random_ = random.Random(seed)
    labels, groups = [], []
    for label, count in (("common", 900), ("middling", 200), ("rare", 12)):
        while labels.count(label) < count:
            group = f"{label}{len(groups)}"
            for _ in range(random_.randint(1, 6)):
                other = random_.random() < 0.02
                labels.append("common" if other else label)
                groups.append(group)
    return labels, groups


@pytest.mark.parametrize("seed", range(5))
def test_no_group_spans_two_splits_and_each_class_keeps_the_ratios(seed: int) -> None:
    labels, groups = drawn(seed)
    splits = split_groups(labels, groups, (0.8, 0.1, 0.1), seed)
    sides: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        sides.setdefault(group, set()).add(split)
    assert all(len(side) == 1 for side in sides.values())
    assert sum(size > 1 for size in Counter(groups).values()) > 200
    counts, totals = Counter(zip(labels, splits, strict=True)), Counter(labels)
    for label in totals:
        assert all(counts[label, split] for split in ("train", "val", "test"))
    for label in ("common", "middling"):
        assert counts[label, "train"] / totals[label] == pytest.approx(0.8, abs=0.02)
        assert counts[label, "val"] / totals[label] == pytest.approx(0.1, abs=0.02)


def test_a_seed_gives_the_same_split_again() -> None:
    labels, groups = drawn(0)
    first = split_groups(labels, groups, (0.8, 0.1, 0.1), 1)
    assert first == split_groups(labels, groups, (0.8, 0.1, 0.1), 1)
    assert first != split_groups(labels, groups, (0.8, 0.1, 0.1), 2)


def test_three_groups_are_enough_and_two_are_not() -> None:
    assert sorted(split_groups(["a"] * 3, ["1", "2", "3"], (0.98, 0.01, 0.01), 0)) == ["test", "train", "val"]
    with pytest.raises(InputError, match="'a' has 2 groups"):
        split_groups(["a"] * 5, ["1", "1", "2", "2", "2"], (0.8, 0.1, 0.1), 0)


def test_ratios_are_shares() -> None:
    assert parse_ratios("80/10/10") == pytest.approx((0.8, 0.1, 0.1))
    assert parse_ratios("3/1/1") == pytest.approx((0.6, 0.2, 0.2))
    for text in ("80/20", "a/b/c", "80/0/20", "80/-1/20", ""):
        with pytest.raises(InputError, match="--ratios"):
            parse_ratios(text)
