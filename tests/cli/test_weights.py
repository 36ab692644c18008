import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from skinlesion_cli.common.paper import PUBLISHED_COUNTS
from skinlesion_cli.data.class_balance import balance_table
from skinlesion_cli.report import plots
from tests.conftest import CLASSES, Run
from tests.support.captures import assert_shown, blocks
from tests.support.pictures import assert_shows

README = Path(__file__).parents[2] / "README.md"


def test_the_published_counts_are_the_default(cli_run: Run) -> None:
    narrow = cli_run("weights", "--beta", 0.999, env={"COLUMNS": "100"}).stdout
    (block,) = blocks(README, "skinlesion weights --beta 0.999")
    assert_shown(block, narrow, most=0.0)
    text = cli_run("weights", "--beta", 0.999).stdout
    rows = {line[:30].strip(): line.split() for line in text.splitlines()}
    assert rows["Dermatofibroma"][-4:] == ["9.30%", "173.9", "2.76", "2.47%"]
    assert rows["Vascular lesions"][-2] == "2.63"
    assert rows["Monkeypox"][-2] == "0.50"
    assert rows["Melanocytic nevi"][-2] == "0.48"
    assert "imbalance ratio 53.9 : 1" in text


def test_json_has_the_documented_keys(cli_run: Run) -> None:
    done = cli_run("weights", "--beta", 0.99, "--alpha", 1, "--json")
    document = done.json()
    assert done.stderr == ""
    assert list(document) == ["beta", "alpha", "imbalance_ratio", "classes"]
    assert (document["beta"], document["alpha"]) == (0.99, 1.0)
    assert document["imbalance_ratio"] == pytest.approx(10300 / 191)
    expected = balance_table(PUBLISHED_COUNTS, 0.99, 1.0)
    for row, one in zip(document["classes"], expected, strict=True):
        assert row == vars(one)


def test_csv_and_plot_are_written(cli_run: Run, tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text("class,count\na,4\nb,1\n", encoding="utf-8")
    cli_run("weights", "--counts", "counts.csv", "--csv", "out/w.csv", "--plot", "out/w.png")
    with (tmp_path / "out" / "w.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a", "b"]
    assert float(rows[0]["sampling_probability"]) == pytest.approx(2 / 3)
    with Image.open(tmp_path / "out" / "w.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 200
    table = balance_table({"a": 4, "b": 1}, 0.999, 0.5)
    assert_shows(tmp_path / "out" / "w.png", plots.class_weights(table, beta=0.999, alpha=0.5))


def test_files_left_out_of_the_counts_are_reported(cli_run: Run, tmp_path: Path) -> None:
    for name in ("a/1.jfif", "a/2.jpe", "b/3.jpg", "b/4.jxl", "b/5.nef", "b/notes.txt"):
        path = tmp_path / "d" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    done = cli_run("weights", "--data", "d", "--json")
    assert [one["count"] for one in done.json()["classes"]] == [2, 1]
    assert done.stderr.startswith(
        "warning: d/train: 3 files are left out: .jxl (1), .nef (1), .txt (1); convert"
    )


def test_its_own_table_is_read_as_counts(cli_run: Run, tmp_path: Path) -> None:
    written = cli_run("weights", "--csv", "w.csv", "--json").json()
    assert cli_run("weights", "--counts", "w.csv", "--json").json() == written
    (tmp_path / "n.csv").write_text("Count,Name\n4,a\n1,b\n", encoding="utf-8")
    classes = cli_run("weights", "--counts", "n.csv", "--json").json()["classes"]
    assert [(one["name"], one["count"]) for one in classes] == [("a", 4), ("b", 1)]


def test_counts_come_from_folders(cli_run: Run, data: Path) -> None:
    document = cli_run("weights", "--data", data, "--json").json()
    assert {row["name"]: row["count"] for row in document["classes"]} == dict(
        zip(CLASSES, (12, 7, 4), strict=True)
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--beta", "1.1"], "--loss-beta: 1.1 is out of range"),
        (["--beta", "-1"], "at least 0"),
        (["--alpha", "2"], "--sampler-alpha: 2.0 is out of range"),
        (["--beta", "high"], "'high' is not a number"),
        (["--counts", "absent.csv"], "absent.csv"),
        (["--counts", "zero.csv"], "class 'b' has the count '0'"),
        (["--counts", "zero.csv", "--data", "."], "exclude each other"),
        (["--data", "absent"], "there is no folder absent"),
        (["--csv", "zero.csv/below/w.csv"], "cannot write to"),
    ],
)
def test_wrong_input_is_refused(
    refused: Callable[..., str], tmp_path: Path, arguments: list[str], reason: str
) -> None:
    (tmp_path / "zero.csv").write_text("class,count\na,4\nb,0\n", encoding="utf-8")
    assert reason in refused("weights", *arguments)


def test_settings_come_from_everywhere(cli_run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "SKINLESION_LOSS_BETA=0.5\nSKINLESION_SAMPLER_ALPHA=0.1\n", encoding="utf-8"
    )
    (tmp_path / "c.toml").write_text("loss_beta = 0.25\nsampler_alpha = 0.25\n", encoding="utf-8")
    document = cli_run(
        "weights", "--json", "--config", "c.toml", env={"SKINLESION_SAMPLER_ALPHA": "0.75"}
    ).json()
    assert (document["beta"], document["alpha"]) == (0.5, 0.75)
    assert cli_run("weights", "--json", "--beta", 0, "--config", "c.toml").json()["beta"] == 0
