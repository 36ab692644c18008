"""Pictures of classes with any names, and of very many."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli.report import plots
from skinlesion_cli.report.plots import confusion_matrix, plain


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("nevus", "nevus"),
        ("$x^2$", r"\$x^2\$"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\udcff", r"\udcff"),
        ("x" * 300, "x" * 47 + "…"),
    ],
)
def test_a_name_is_one_short_line_and_no_formula(name: str, shown: str) -> None:
    assert plain(name) == shown


def test_a_matrix_of_odd_names_is_drawn_without_a_warning(tmp_path: Path) -> None:
    names = ["$a", "b\nb", "\udcff", "母斑", "\x1b[1m", "y" * 300, "{}", "\\frac"]
    confusion_matrix(np.eye(len(names), dtype=int), names, "test", tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as drawn:
        assert drawn.width > 500


def test_very_many_classes_make_no_larger_picture_than_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "NUMBERED_CLASSES", 8)
    sizes = []
    for count in (8, 300):
        confusion_matrix(
            np.eye(count, dtype=int), [f"c{n}" for n in range(count)], "test", tmp_path / "m.png"
        )
        with Image.open(tmp_path / "m.png") as drawn:
            sizes.append(drawn.size)
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)
