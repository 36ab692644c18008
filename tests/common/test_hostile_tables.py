"""Tables, TOML and .env files of nonsense, and names that a spreadsheet would run."""

import csv
import os
import time
from pathlib import Path

import numpy as np
import pytest

from skinlesion_cli.common import limits
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.resolve import resolve
from skinlesion_cli.curation.groups import read_groups
from skinlesion_cli.curation.labels import read_labels
from skinlesion_cli.data.class_balance import read_counts
from skinlesion_cli.data.manifest import ManifestRow, origins_in, write_manifest
from skinlesion_cli.metrics.predictions import Predictions, read_predictions, write_predictions


def raw_cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_predictions_with_odd_names_are_the_same_afterwards(tmp_path: Path) -> None:
    images = (
        "=cmd.jpg",
        "new\nline.jpg",
        "\rreturn.jpg",
        os.fsdecode(b"\xff.jpg"),
        " space .jpg ",
        'q"uo,te',
    )
    classes = ("=HYPERLINK(A1)", "-nevus", "'@x")
    likely = np.full((6, 3), 1 / 3)
    given = Predictions(images, classes, np.array([0, 1, 2] * 2), np.array([2, 1, 0] * 2), likely)
    write_predictions(tmp_path / "p.csv", given)
    read = read_predictions(tmp_path / "p.csv")
    assert (read.images, read.classes) == (images, classes)
    assert read.predicted.tolist() == given.predicted.tolist()
    assert not [cell for row in raw_cells(tmp_path / "p.csv") for cell in row if cell[:1] in set("=+-@\r\n")]


def test_a_manifest_with_odd_names_still_names_its_files(tmp_path: Path) -> None:
    rows = [ManifestRow("test", "=a", "-1.jpg", "@g", "+s"), ManifestRow("test", "b", "\t.jpg", "g", "")]
    path = write_manifest(tmp_path, rows)
    origins = origins_in(path, "test", ["=a/-1.jpg", "b/\t.jpg"])
    assert (origins.groups, origins.sources) == (["@g", "g"], ["+s", ""])
    assert read_groups(path) == {"test/=a/-1.jpg": "@g", "test/b/\t.jpg": "g"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("class,count\na,1\n".encode("utf-16"), "not UTF-8 text"),
        (b"class,count\na\0b,1\n", "line 2 contains a NUL"),
        (b'class,count\n"a,1\nb,2\n', "unexpected end of data"),
        (b'class,count\n"a"b,1\n', "expected after"),
        (b"class,count\n" + b"a" * 200_000 + b",1\n", "field larger than field limit"),
        (b"class,count\n" + b"a," * 600_000 + b"\n", "line 2 is longer than 1,048,576 characters"),
        (b'class,count\n"' + b"a\n" * 100_000, "field larger than field limit"),
        (b"class,count\na," + b"9" * 10_000 + b"\n", "line 2: class 'a' has the count '999.*…'; it must be"),
        (b"class,count\na,--5\n", "has the count '--5'"),
        (b"class,count\na,-5\n", "has the count '-5'"),
        (b"class,count\na,nan\n", "has the count 'nan'"),
        (b"class,count\na,1e3\n", "has the count '1e3'"),
        (b"class,count\na\n", "has the count ''"),
        (b"class,count\na,1\na,2\n", "duplicate class 'a'"),
        (b"class,count\n" + b"".join(b"c%d,1\n" % n for n in range(1001)), "more than 1,000 classes"),
        (b"\n\n\n", "needs a first line"),
    ],
)
def test_invalid_counts_are_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "c.csv").write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_counts(tmp_path / "c.csv")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_thousand_and_one_classes_are_not_scored(tmp_path: Path) -> None:
    lines = [f"{n},c{n},c{n}" for n in range(limits.MAX_CLASSES + 1)]
    (tmp_path / "p.csv").write_text("\n".join(["image,y_true,y_pred", *lines]), encoding="utf-8")
    with pytest.raises(InputError, match="has 1,001 classes; at most 1,000"):
        read_predictions(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("../secret.jpg,a", "is outside "),
        ("x/../../secret.jpg,a", "is outside "),
        ("/etc/hostname,a", "is outside "),
        ("in.jpg,..", "cannot be the name of a class"),
        ("in.jpg,.", "cannot be the name of a class"),
        ("in.jpg,/etc", "cannot be the name of a class"),
        ("in.jpg,a/b", "cannot be the name of a class"),
        ("in.jpg,.hidden", "cannot be the name of a class"),
        ("in.jpg," + "x" * 300, "cannot be the name of a class"),
        ("x" * 5000 + ",a", "File name too long"),
        ("pipe,a", "it is not a regular file"),
        (".,a", "it is a folder"),
        ("in.jpg,", "has no label"),
    ],
)
def test_a_table_of_labels_stays_in_its_folder(tmp_path: Path, row: str, reason: str) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "secret.jpg").touch()
    (folder / "in.jpg").touch()
    os.mkfifo(folder / "pipe")
    (folder / "labels.csv").write_text(f"file,label\nin.jpg,a\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"line 3: .*{reason}"):
        read_labels(folder / "labels.csv")


def settle(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    dotenv = path if path.name == ".env" else path.with_name("absent")
    resolve({}, config=None if path.name == ".env" else path, environ={}, dotenv=dotenv)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"epochs = " + b"9" * 10_000, "is not a TOML file"),
        (b"seed = 0x" + b"f" * 10_000, "seed in .*: this int is out of range"),
        (b"learning_rate = 1" + b"0" * 400, "learning_rate in .*is not a number"),
        (b"learning_rate = inf", "inf is out of range"),
        (b"learning_rate = nan", "nan is not a number"),
        (b"epochs = 1979-05-27", "is not a whole number"),
        (b"epochs = [[1]]", "is not a whole number"),
        (b"model_arch = {a = 1}", "is not a string"),
        (b"epochs = 3\nepochs = 4", "is not a TOML file"),
        (b"a = " + b"[" * 10_000, "is not a TOML file"),
        (b"a = " + b"{a=" * 10_000, "is not a TOML file"),
        (b'data_root = "a\\u0000b"', "is not a path"),
        (b"epochs = 3\0", "is not a TOML file"),
        ("epochs = 3".encode("utf-16"), "not UTF-8 text"),
        (b"# " + b"x" * (1 << 20), "larger than 1 MiB"),
        (b'"' + b"k" * 100_000 + b'" = 1', "unknown setting 'k*…'"),
    ],
)
def test_an_invalid_config_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        settle(tmp_path / "c.toml", content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbfepochs = 3\r\n")
    assert resolve({}, config=tmp_path / "c.toml", environ={}, dotenv=tmp_path / "absent").epochs == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"SKINLESION_EPOCHS=" + b"9" * 10_000, "is not a whole number"),
        (b"SKINLESION_EPOCHS=\0", "is not a whole number"),
        (b"SKINLESION_DATA_ROOT=a\0b", "is not a path"),
        (b'SKINLESION_EPOCHS="3', r"\.env, line 1: it must be NAME=value"),
        ("SKINLESION_EPOCHS=3".encode("utf-16"), "not UTF-8 text"),
        (b"#" * (2 << 20), "larger than 1 MiB"),
    ],
)
def test_an_invalid_dotenv_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        settle(tmp_path / ".env", content)
    assert "\n" not in str(caught.value)


def test_lines_of_other_programs_in_a_dotenv_may_be_of_any_form(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settle(tmp_path / ".env", b"what is this\n'\n=\nOTHER='unclosed\nexport\n")
    assert caplog.records == []


@pytest.mark.parametrize("unit", [b"'", b'"', b"\\", b"a='", b'a="\\', b" ", b"a=b ", b"\n", b"export "])
def test_a_large_dotenv_takes_little_time(tmp_path: Path, unit: bytes) -> None:
    before = time.process_time()
    settle(tmp_path / ".env", unit * (60_000 // len(unit)))
    assert time.process_time() - before < 1.0


def test_a_path_that_is_not_utf8_is_refused_early() -> None:
    with pytest.raises(InputError, match=r"--data: .* is not a path in UTF-8"):
        resolve({"data_root": os.fsdecode(b"\xff")}, environ={}, dotenv=Path("absent"))
