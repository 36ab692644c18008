"""CSV files that a spreadsheet cannot run, and that are read back as they were written."""

import csv
import os
import time
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from skinlesion_cli.common import csv_files
from skinlesion_cli.common.csv_files import csv_rows, protected, read_table, unprotected, write_csv
from skinlesion_cli.common.errors import InputError

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "'=1", "''=1"]
# Any text that can be a file's name; bytes that are not UTF-8 are surrogates in it.
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=())).filter(bool)


def raw_cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_csv_has_one_line_per_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["a", "b"], [[1, "x,y"]])
    assert (tmp_path / "t.csv").read_bytes() == b'a,b\n1,"x,y"\n'


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_looks_like_a_formula_gets_an_apostrophe(tmp_path: Path, text: str) -> None:
    write_csv(tmp_path / "t.csv", [text], [[text]])
    assert raw_cells(tmp_path / "t.csv") == [["'" + text], ["'" + text]]
    assert read_table(tmp_path / "t.csv") == ([text], [{text: text}])


@pytest.mark.parametrize("text", ["a=1", "nevus", "'tis", "ISIC_1.jpg", "2-3", "é", "\\u", "\\n", "'", "''"])
def test_other_text_is_unchanged(text: str) -> None:
    assert protected(text) == text


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["a", "b", "c", "d"], [[-1.5, -2, True, None]])
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "a,b,c,d\n-1.5,-2,True,\n"


def test_bytes_that_are_not_utf8_are_written_as_in_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_csv(tmp_path / "t.csv", ["image"], [[name], ["caf\\udce9.jpg"]])
    assert (tmp_path / "t.csv").read_bytes() == b"image\ncaf\\udce9.jpg\ncaf\\\\udce9.jpg\n"
    assert [row["image"] for row in read_table(tmp_path / "t.csv")[1]] == [name, "caf\\udce9.jpg"]


@hypothesis.settings(derandomize=True, max_examples=300, deadline=None, database=None)
@hypothesis.given(st.lists(NAMES, min_size=1, max_size=5))
def test_any_names_are_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "names.csv"
    write_csv(path, ["a"], [[name] for name in names])
    assert [cells for _, cells in csv_rows(path)] == [["a"], *([name] for name in names)]
    assert all("'" in cell or not cell.startswith(("=", "+", "-", "@")) for [cell] in raw_cells(path))


@hypothesis.settings(derandomize=True, max_examples=1000, deadline=None, database=None)
@hypothesis.given(st.text(st.sampled_from("'=\\udc8 f\ud800\udcff\tx")))
def test_protection_can_be_undone_however_often_it_is_done(text: str) -> None:
    for times in range(3):
        shut = text
        for _ in range(times):
            shut = protected(shut)
        for _ in range(times):
            shut = unprotected(shut)
        assert shut == text


def test_many_backslashes_take_no_time() -> None:
    text = "\\" * 500_000 + "x"
    before = time.process_time()
    assert unprotected(protected(text)) == text
    assert time.process_time() - before < 1.0


def test_the_limits_of_a_table_act_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 50 + "\n" * 50, encoding="utf-8")
    monkeypatch.setattr(csv_files, "MAX_TABLE_CELLS", 120)
    with pytest.raises(InputError, match="more than 120 cells"):
        read_table(path)
    monkeypatch.setattr(csv_files, "MAX_TABLE_BYTES", 100)
    with pytest.raises(InputError, match="larger than 100 bytes"):
        read_table(path)


def test_a_table_whose_rows_do_not_fit_its_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.csv").write_text("file,group,file\n", encoding="utf-8")
    with pytest.raises(InputError, match="more than one column file"):
        read_table(tmp_path / "twice.csv")
    (tmp_path / "long.csv").write_text("file,group\na,b\na,b,c\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: 3 cells where the header has 2"):
        read_table(tmp_path / "long.csv")
    (tmp_path / "short.csv").write_text("file,group\na\nb,,\n", encoding="utf-8")
    assert read_table(tmp_path / "short.csv")[1] == [{"file": "a", "group": ""}, {"file": "b", "group": ""}]
