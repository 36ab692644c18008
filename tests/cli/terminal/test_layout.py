import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from skinlesion_cli.cli.terminal.layout import Paragraph, Table
from skinlesion_cli.common.text import in_encoding

NAMES = ("Benign keratosis-like lesions", "Melanoma", "Squamous cell carcinoma")
HEADS = ("Class", "Precision", "Sensitivity at 95% specificity", "Difference", "Images")
CELLS = ("0.9263", "0.5217  [0.348, 0.739]", "+0.0123  [-0.012, +0.023]", "10300")


def drawn(what: object, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(what)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 45, 50, 60, 72, 79, 80, 100, 160])
def test_a_table_shows_every_number_whole_at_any_width(width: int) -> None:
    rows = [(name, *CELLS) for name in NAMES]
    lines = drawn(Table(HEADS, rows), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for cell in CELLS:
        assert text.count(cell) == len(NAMES), cell
    shown = re.sub(r"\s+", " ", text)
    for word in " ".join((*HEADS, *NAMES)).split():
        assert word in shown


def test_where_it_fits_a_table_is_in_one_piece() -> None:
    lines = drawn(Table(("", "A", "B"), [("accuracy", "0.5000", "0.75"), ("F1", "–", "1.00")]), 80)
    assert lines == ["               A     B", "accuracy  0.5000  0.75", "F1             –  1.00"]


def test_heads_and_names_are_folded_before_columns_move_below() -> None:
    rows = [("Melanocytic nevi of the skin", "10300", "0.91")]
    (head, more, name, numbers) = drawn(Table(("Class", "Images", "Effective number"), rows), 36)
    assert head.split() == ["Effective"]
    assert more.split() == ["Class", "Images", "number"]
    assert (name + numbers).split() == ["Melanocytic", "nevi", "of", "the", "skin", "10300", "0.91"]


def test_parts_of_a_table_are_even() -> None:
    row = ("Melanoma", "0.1111", "0.2222", "0.3333  [0.111, 0.555]", "4", "5", "6")
    heads = ("Class", "A", "B", "Difference", "Images", "Gained", "Lost")
    lines = drawn(Table(heads, [row]), 66)
    assert [line.split()[0] for line in lines if line.strip()] == ["Class", "Melanoma"] * 2
    assert lines[-1].split() == ["Melanoma", "4", "5", "6"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_bar_goes_before_a_name_is_folded(width: int) -> None:
    table = Table(
        ("Image", "Class", "Probability"),
        [("photos/a.jpg", "Squamous cell carcinoma", "97.3%")],
        left=(0, 1),
        bars=[Text("█" * 24)],
    )
    text = "\n".join(drawn(table, width))
    assert ("█" in text) == (width >= 76)
    assert "97.3%" in text
    assert ("Squamous cell carcinoma" in text) == (width > 50)
    assert "…" not in text


@pytest.mark.parametrize("width", range(20, 80, 3))
def test_an_interval_in_a_sentence_stays_on_one_line(width: int) -> None:
    said = "Coverage 0.8123 [0.712, 0.901], accuracy 0.9000  [0.881, 0.920]; higher is better."
    text = "\n".join(drawn(Paragraph(said), max(width, 24)))
    assert "0.8123 [0.712, 0.901]" in text
    assert "0.9000  [0.881, 0.920]" in text
    assert text.split() == said.split()


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "- - ... x # e c \\u4e2d 0.5"),
        ("cp1252", "- – … × # é c \\u4e2d 0.5"),
        ("latin-1", "- - ... × # é c \\u4e2d 0.5"),
        ("utf-8", "− – … × █ é ć 中 0.5"),
    ],
)
def test_what_an_encoding_lacks_is_written_in_ascii(encoding: str, shown: str) -> None:
    assert in_encoding("− – … × █ é ć 中 0.5", encoding) == shown
