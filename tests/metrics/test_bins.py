import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.metrics.bins import Partition, partition


def sizes(found: Partition) -> dict[str, int]:
    return {name: len(rows) for name, rows in found.members()}


def test_ages_are_cut_at_30_50_and_70() -> None:
    cells = ["29", "30", "49.0", "50", "69.9", "70", "", "0", "85"]
    found = partition("age_approx", cells)
    assert list(found.members()) == [
        ("under 30", [0, 7]),
        ("30–49", [1, 2]),
        ("50–69", [3, 4]),
        ("70 and over", [5, 8]),
        ("unknown", [6]),
    ]
    assert sizes(partition("Age", ["71", "72.5", "5", "72", "73", "74", "75", "76"])) == {
        "under 30": 1,
        "70 and over": 7,
    }


def test_other_numbers_are_cut_at_their_quartiles_which_the_names_give() -> None:
    found = partition("diameter", [str(value) for value in range(1, 10)])
    assert sizes(found) == {"to 3": 3, "over 3, to 5": 2, "over 5, to 7": 2, "over 7": 2}
    # More than half are equal: two quartiles are one limit.
    assert sizes(partition("count", [*"11111", *"23456789"])) == {
        "to 1": 5,
        "over 1, to 3": 2,
        "over 3, to 6": 3,
        "over 6": 3,
    }


def test_few_whole_numbers_and_texts_are_categories_in_their_order() -> None:
    assert sizes(partition("tone", ["6", "1", "1", "2", ""])) == {"1": 2, "2": 1, "6": 1, "unknown": 1}
    assert sizes(partition("tone", ["56", "12", "34"])) == {"12": 1, "34": 1, "56": 1}
    # One spelling for those that differ in case: the commonest.
    assert sizes(partition("sex", ["male", "Male", "female", "male"])) == {"female": 1, "male": 3}
    assert sizes(partition("grade", ["1", "2", "high"])) == {"1": 1, "2": 1, "high": 1}


def test_what_is_no_column_of_subgroups_is_refused() -> None:
    with pytest.raises(InputError, match="--by sex: none of the 2 images has a value"):
        partition("sex", ["", ""])
    with pytest.raises(InputError, match="has 51 different values, such as 'L0'; subgroups are at most 50"):
        partition("lesion_id", [f"L{number}" for number in range(51)])
