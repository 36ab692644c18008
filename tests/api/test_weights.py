from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from skinlesion_cli import Settings, weights
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.paper import PUBLISHED_COUNTS
from tests.conftest import CLASSES


def test_the_published_counts_and_the_papers_settings_are_the_default() -> None:
    found = weights()
    assert (found.beta, found.alpha) == (Settings().loss_beta, Settings().sampler_alpha) == (0.999, 0.5)
    assert {one.name: one.count for one in found.classes} == PUBLISHED_COUNTS
    assert found.imbalance_ratio == pytest.approx(10300 / 191)
    with pytest.raises(FrozenInstanceError):
        found.beta = 0.5  # type: ignore[misc]


def test_the_document_and_the_rows_are_plain_data() -> None:
    found = weights({"a": 3, "b": 1}, beta=0.5, alpha=1)
    rows = [
        {
            "name": "a",
            "count": 3,
            "share": 0.75,
            "effective_number": 1.75,
            "weight": pytest.approx(8 / 11),
            "sampling_probability": 0.75,
            "effective_prior": pytest.approx(12 / 19),
        },
        {
            "name": "b",
            "count": 1,
            "share": 0.25,
            "effective_number": 1.0,
            "weight": pytest.approx(14 / 11),
            "sampling_probability": 0.25,
            "effective_prior": pytest.approx(7 / 19),
        },
    ]
    assert found.rows() == rows
    assert found.to_dict() == {"beta": 0.5, "alpha": 1, "imbalance_ratio": 3.0, "classes": rows}


def test_counts_come_from_a_file_or_from_folders(tmp_path: Path, data: Path) -> None:
    (tmp_path / "c.csv").write_text("class,count\na,4\nb,1\n", encoding="utf-8")
    assert [one.count for one in weights(counts_file=str(tmp_path / "c.csv")).classes] == [4, 1]
    assert [(one.name, one.count) for one in weights(data=data).classes] == [
        (CLASSES[0], 12),
        (CLASSES[1], 7),
        (CLASSES[2], 4),
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"counts": {"a": 0}}, "'a' has the count 0"),
        ({"counts": {}}, "no classes"),
        ({"beta": 1.5}, "beta is 1.5"),
        ({"data": "absent"}, "there is no folder absent"),
        ({"counts_file": "absent.csv"}, "absent.csv"),
        ({"counts": {"a": 1}, "data": "."}, "give only one of counts, data and counts_file"),
    ],
)
def test_wrong_input_is_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        weights(**arguments)
