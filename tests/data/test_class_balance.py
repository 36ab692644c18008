import math
from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.paper import PUBLISHED_COUNTS
from skinlesion_cli.data.class_balance import (
    balance_table,
    effective_number,
    ens_weights,
    imbalance_ratio,
    read_counts,
    sampling_probabilities,
)


def test_published_counts_give_the_published_weights() -> None:
    table = {one.name: one for one in balance_table(PUBLISHED_COUNTS, beta=0.999, alpha=0.5)}
    assert round(table["Dermatofibroma"].weight, 2) == 2.76
    assert round(table["Vascular lesions"].weight, 2) == 2.63
    assert round(table["Monkeypox"].weight, 2) == 0.50
    assert round(table["Melanocytic nevi"].weight, 2) == 0.48
    assert round(imbalance_ratio(list(PUBLISHED_COUNTS.values())), 1) == 53.9
    roots = {name: math.sqrt(count) for name, count in PUBLISHED_COUNTS.items()}
    for name, one in table.items():
        assert one.sampling_probability == pytest.approx(roots[name] / sum(roots.values()), rel=1e-12)
    assert sum(one.share for one in table.values()) == pytest.approx(1)


@pytest.mark.parametrize(("count", "beta", "expected"), [(1, 0.9, 1), (2, 0.5, 1.5), (3, 0.5, 1.75)])
def test_effective_number_of_small_counts(count: int, beta: float, expected: float) -> None:
    assert effective_number(count, beta) == pytest.approx(expected, rel=1e-12)


def test_effective_number_keeps_its_digits_as_beta_nears_1() -> None:
    # (1 - b^n) / (1 - b) = 1 + b + … + b^(n-1), summed directly.
    beta = 1 - 1e-12
    assert effective_number(1000, beta) == pytest.approx(sum(beta**k for k in range(1000)), rel=1e-9)


def test_beta_0_gives_ones_and_beta_1_the_inverse_frequency() -> None:
    assert ens_weights([5, 50, 500], 0.0) == [1, 1, 1]
    limit = ens_weights([5, 50, 500], 1.0)
    assert limit[0] / limit[2] == pytest.approx(100)
    assert limit == pytest.approx(ens_weights([5, 50, 500], 1 - 1e-9), rel=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 1.0])
def test_weights_have_mean_1(beta: float) -> None:
    weights = ens_weights(list(PUBLISHED_COUNTS.values()), beta)
    assert sum(weights) / len(weights) == pytest.approx(1, rel=1e-12)


def test_alpha_goes_from_uniform_to_frequency() -> None:
    assert sampling_probabilities([1, 9], 0.0) == [0.5, 0.5]
    assert sampling_probabilities([1, 9], 0.5) == [0.25, 0.75]
    assert sampling_probabilities([1, 9], 1.0) == [0.1, 0.9]


@pytest.mark.parametrize(
    ("counts", "beta", "alpha", "reason"),
    [
        ({"a": 1}, 1.5, 0.5, "beta"),
        ({"a": 1}, 0.9, -0.1, "alpha"),
        ({"a": 0}, 0.9, 0.5, "'a' has the count 0"),
        ({}, 0.9, 0.5, "no classes"),
    ],
)
def test_invalid_class_counts_are_refused(
    counts: dict[str, int], beta: float, alpha: float, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        balance_table(counts, beta, alpha)


def test_counts_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text('count,class\n3,"b, c"\n5,a\n', encoding="utf-8-sig")
    assert list(read_counts(path).items()) == [("b, c", 3), ("a", 5)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("class,count\na,0\n", "line 2: class 'a' has the count '0'"),
        ("class,count\na,-4\n", "'-4'"),
        ("class,count\na,many\n", "'many'"),
        ("class,count\na,1.5\n", "'1.5'"),
        ("class,count\na\n", "''"),
        ("class,count\na,1\na,2\n", "line 3: duplicate class 'a'"),
        ("class,count\na,1\nA,2\n", "line 3: the class 'A' differs from 'a' only in case or Unicode form"),
        ("class,count\n ,1\n", "no name"),
        ("name,n\na,1\n", "class,count or name,count"),
        ("class,name\na,1\n", "class,count"),
        ("class,count\n", "no classes"),
        ("", "class,count"),
    ],
)
def test_invalid_counts_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_counts(path)
