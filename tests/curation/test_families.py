"""Families are put together from pairs, and one pair that deceives joins no two of them."""

import itertools

from skinlesion_cli.curation.families import cluster, connected_components, merge_names


def _all_pairs(members: range) -> list[tuple[int, int]]:
    return list(itertools.combinations(members, 2))


def test_connected_components() -> None:
    assert connected_components(6, [(4, 5), (5, 2), (0, 1)]) == [[0, 1], [2, 4, 5]]
    assert connected_components(7, [(3, 5), (0, 4), (1, 5)]) == [[0, 4], [1, 3, 5]]
    assert connected_components(3, []) == []


def test_merged_groups_take_the_first_name() -> None:
    assert merge_names(["c", "a", "b", "a", "d"], [(3, 2), (2, 0)]) == ["c", "c", "c", "c", "d"]


def test_a_pair_of_two_needs_to_be_certain() -> None:
    assert cluster(4, [(0, 1)], [(0, 1), (2, 3)]) == [0, 0, 2, 3]


def test_one_deceiving_pair_joins_no_families() -> None:
    one, other = _all_pairs(range(6)), _all_pairs(range(6, 12))
    bridge = [(2, 8)]
    family = cluster(12, one + other + bridge, one + other + bridge)
    assert family == [0] * 6 + [6] * 6


def test_most_pairs_join_families() -> None:
    pairs = [pair for pair in _all_pairs(range(8)) if sum(pair) % 4]
    assert set(cluster(8, pairs, pairs)) == {0}


def test_a_leftover_joins_the_family_that_it_agrees_with_most() -> None:
    one, other = _all_pairs(range(6)), _all_pairs(range(6, 12))
    leftover = [(12, i) for i in (0, 1, 6, 7, 8, 9)]
    family = cluster(13, one + other, one + other + leftover)
    assert family[12] == family[6] != family[0]
    # Too few of its pairs agree.
    assert cluster(13, one + other, one + other + leftover[:2])[12] == 12


def test_large_families_do_not_take_in_their_equals() -> None:
    one, other = _all_pairs(range(5)), _all_pairs(range(5, 10))
    likely = [(a, b) for a in range(5) for b in range(5, 10)]
    assert len(set(cluster(10, one + other, one + other + likely))) == 2
