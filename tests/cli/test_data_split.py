import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.curation.build import split_data_set
from skinlesion_cli.curation.labels import read_labels
from skinlesion_cli.data.splits import SPLITS
from skinlesion_cli.data.table import read_data_table
from tests.conftest import CLASSES, TINY, Run, draw_data_set


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One folder per class; the last image of each class is a copy."""
    folder = draw_data_set(tmp_path, {"source": (12, 8, 5)}) / "source"
    for name in CLASSES:
        shutil.copy(folder / name / "0.jpg", folder / name / "copy.jpg")
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_neither_copies_nor_groups_span_two_splits(cli_run: Run, source: Path, tmp_path: Path) -> None:
    before = sorted(source.rglob("*"))
    (source / CLASSES[0] / "1.jpg").rename(source / CLASSES[0] / "one.jpg")
    (source / CLASSES[0] / "2.jpg").rename(source / CLASSES[0] / "two.jpg")
    (tmp_path / "g.csv").write_text("image,patient_id\none,P\ntwo,P\n", encoding="utf-8")
    done = cli_run("data", "split", source, "--out", "d", "--groups", "g.csv", "--ratios", "60/20/20")
    assert "28 images in 24 groups; no group spans two splits" in done.stdout
    assert "images with a group: 2 of 28 (train " in done.stdout
    rows = rows_of(tmp_path / "d")
    sides: dict[str, set[str]] = {}
    for row in rows:
        assert (tmp_path / "d" / row["split"] / row["class"] / row["file"]).is_file()
        sides.setdefault(row["group"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert sorted(Counter(row["group"] for row in rows).values()) == [1] * 20 + [2] * 4
    side_of = {(row["class"], row["file"]): row["split"] for row in rows}
    for name in CLASSES:
        assert side_of[name, "0.jpg"] == side_of[name, "copy.jpg"]
        assert {side_of[key] for key in side_of if key[0] == name} == {"train", "val", "test"}
    assert side_of[CLASSES[0], "one.jpg"] == side_of[CLASSES[0], "two.jpg"]
    assert len(sorted(source.rglob("*"))) == len(before)
    assert cli_run("data", "check", "d", "--json").json()["leaking"] is False


def test_a_table_is_written_without_copies(cli_run: Run, source: Path, tmp_path: Path) -> None:
    files = sorted(source.rglob("*.jpg"))
    lines = [f"{path.relative_to(source)},{path.parent.name},{n % 90}" for n, path in enumerate(files)]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text("\n".join(["file,label,age", *lines]), encoding="utf-8")
    split = ("data", "split", "in/t.csv", "--images", source, "--no-near", "--ratios", "60/20/20")
    done = cli_run(*split, "--out", "in/s.csv")
    assert "table: in/s.csv; train on it with --data in/s.csv --images" in done.stderr
    assert "28 images, 3 of them copies of others; no photograph spans two splits" in done.stdout
    rows = read_data_table(tmp_path / "in" / "s.csv", source).rows
    assert {row.file: row.others["age"] for row in rows}["synthetic blotch/1.jpg"] == "1"
    assert {(row.split, row.label) for row in rows} == {(one, name) for one in SPLITS for name in CLASSES}
    side = {row.file: row.split for row in rows}
    assert all(side[f"{name}/0.jpg"] == side[f"{name}/copy.jpg"] for name in CLASSES)
    # The same photographs as a folder get the same split; below the table, they need no --images.
    options: dict[str, Any] = {"near": False, "ratios": "60/20/20", "seed": 42}
    assert split_data_set(source, tmp_path / "s.csv", **options).images_root is None
    again = read_data_table(tmp_path / "s.csv")
    assert {row.file.removeprefix("source/"): row.split for row in again.rows} == side
    assert sorted(tmp_path.rglob("*.jpg")) == files
    for out, table, link, reason in (
        ("s.csv", "in/t.csv", False, "s.csv already exists; choose a new table"),
        ("new.csv", "in/t.csv", True, "--link needs a folder"),
        ("new.csv", "in/s.csv", False, "s.csv is already split: it has a column split"),
    ):
        with pytest.raises(InputError, match=reason):
            split_data_set(tmp_path / table, tmp_path / out, images_root=source, link=link)


def test_a_table_without_splits_is_not_trained_on(refused: Callable[..., str], source: Path) -> None:
    lines = [f"{name}/{n}.jpg,{name}" for name in CLASSES for n in range(5)]
    (source / "t.csv").write_text("\n".join(["file,label", *lines]), encoding="utf-8")
    message = refused("train", "--data", "source/t.csv", "--out", "run")
    line = "skinlesion data split source/t.csv --out splits.csv"
    assert f"source/t.csv has no column split; make one with: {line}" in message


@pytest.mark.usefixtures("source")
def test_a_csv_of_files_and_labels_can_be_split(cli_run: Run, tmp_path: Path) -> None:
    lines = [f"source/{CLASSES[0]}/{i}.jpg,{'a' if i < 6 else 'b'}" for i in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *lines]), encoding="utf-8")
    cli_run("data", "split", "labels.csv", "--out", "d", "--link")
    rows = rows_of(tmp_path / "d")
    assert sorted(row["class"] for row in rows) == ["a"] * 6 + ["b"] * 6
    assert (tmp_path / "d" / rows[0]["split"] / rows[0]["class"] / rows[0]["file"]).stat().st_nlink == 2


def test_a_file_of_the_table_may_be_in_another_unicode_form_on_disk(source: Path, tmp_path: Path) -> None:
    (source / CLASSES[0]).rename(source / "ne\u0301vus")
    rows = f"source/n\u00e9vus/0.jpg,a\nsource/{CLASSES[1]}/0.jpg,b\n"
    (tmp_path / "l.csv").write_text(f"file,label\n{rows}", encoding="utf-8")
    assert read_labels(tmp_path / "l.csv").paths[0] == source / "ne\u0301vus" / "0.jpg"


def test_a_file_with_two_labels_is_refused(refused: Callable[..., str], source: Path, tmp_path: Path) -> None:
    file = f"source/{CLASSES[0]}/0.jpg"
    (source / "link.jpg").symlink_to(tmp_path / file)
    for again in (file, f"./{file}", "source/link.jpg"):
        (tmp_path / "l.csv").write_text(f"file,label\n{file},Melanoma\n{again},Nevus\n", encoding="utf-8")
        message = refused("data", "split", "l.csv", "--out", "d")
        assert f"l.csv, line 3: '{again}' is also the file of line 2; keep one of the rows" in message
    rows = f"{file},NEVUS\nsource/{CLASSES[0]}/1.jpg,Nevus\n"
    (tmp_path / "l.csv").write_text(f"file,label\n{rows}", encoding="utf-8")
    message = refused("data", "split", "l.csv", "--out", "d")
    assert "the labels 'NEVUS' and 'Nevus' differ only in their case" in message


def test_wrong_input_is_refused(refused: Callable[..., str], source: Path, tmp_path: Path) -> None:
    assert "there is no folder absent" in refused("data", "split", "absent", "--out", "d")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    assert "full is not empty" in refused("data", "split", source, "--out", "full")
    draw_data_set(tmp_path / "split", {"train": (1,), "val": (1,)}, CLASSES[:1])
    assert "is already split" in refused("data", "split", "split", "--out", "d")
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "photos").symlink_to(source)
    wrapped = refused("data", "split", "outer", "--out", "d")
    assert (
        "outer has only one class, 'photos'; at least two are needed; move the folders in outer/photos"
        in wrapped
    )
    (tmp_path / "bad.csv").write_text("file,label\nabsent.jpg,a\n", encoding="utf-8")
    assert "bad.csv, line 2: 'absent.jpg' is not a file" in refused("data", "split", "bad.csv", "--out", "d")
    (tmp_path / "up.csv").write_text(f"file,label\nsource/{CLASSES[0]}/0.jpg,../x\n", encoding="utf-8")
    assert "cannot be the name of a class" in refused("data", "split", "up.csv", "--out", "d")
    (tmp_path / "one.csv").write_text(f"file,label\nsource/{CLASSES[0]}/0.jpg,x\n", encoding="utf-8")
    one = refused("data", "split", "one.csv", "--out", "d")
    assert "one.csv has only one class, 'x'; at least two are needed" in one
    (tmp_path / "other.csv").write_text("image,group\n0007,A\n", encoding="utf-8")
    unmatched = refused("data", "split", source, "--out", "d", "--groups", "other.csv")
    assert "other.csv gives none of 28 images a group" in unmatched
    assert not (tmp_path / "d").exists()


def test_without_groups_no_group_is_claimed(cli_run: Run, source: Path) -> None:
    (source / CLASSES[1] / "a.JXL").touch()
    (source / "b.csv").touch()
    done = cli_run("data", "split", source, "--out", "d", "--ratios", "60/20/20")
    assert "1 files are left out: .jxl (1); convert images to JPEG or PNG to use them" in done.stderr
    assert "beside the class folders: 1 files are left out: .csv (1)" in done.stderr
    assert "28 images, 3 of them copies of others; no photograph spans two splits" in done.stdout
    assert "lesions and patients are unknown; give a table of them with --groups FILE.csv" in done.stdout
    found = cli_run("data", "check", "d", "--json").json()
    assert "have a sibling in train by pixels; lesions and patients are unknown." in found["verdict"]
    assert set(found["images_with_group"].values()) == {0}


def test_train_knows_the_check_of_the_split_and_says_images(
    cli_run: Run, source: Path, tmp_path: Path
) -> None:
    cli_run("data", "split", source, "--out", "d", "--ratios", "60/20/20")
    done = cli_run("train", "--data", "d", *TINY, "--epochs", 1, "--out", "run")
    assert "d was checked on 20" in done.stderr
    assert "by pixels; lesions and patients are unknown." in done.stderr
    assert "never checked" not in done.stderr
    scores = json.loads((tmp_path / "run" / "results" / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert (scores["resampling_unit"], scores["n"]) == ("images", scores["n"])
    assert scores["ci95_method"].endswith("of images")
    cli_run("report", "run", "--out", "page.html", "--card", "card.md")
    for name in ("page.html", "card.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "resample whole groups" not in text
        assert "lesions and patients are unknown" in text


@pytest.fixture
def grouped(cli_run: Run, source: Path, tmp_path: Path) -> Path:
    """A data set that was split with a table of patients, two images each."""
    for name in CLASSES:
        (source / name / "copy.jpg").unlink()
    files = [f"{name}/{path.name}" for name in CLASSES for path in sorted((source / name).iterdir())]
    rows = [f"{file},P{number // 2}" for number, file in enumerate(files)]
    (tmp_path / "g.csv").write_text("\n".join(["file,patient_id", *rows]), encoding="utf-8")
    cli_run("data", "split", source, "--out", "d", "--groups", "g.csv", "--ratios", "60/20/20")
    return tmp_path / "d"


def test_a_manifest_that_does_not_list_the_files_is_reported_before_scoring(
    cli_run: Run, checkpoint: Path, grouped: Path
) -> None:
    evaluate = ("evaluate", "--data", "d", "--checkpoint", checkpoint, "--json", "--out", "scores")
    done = cli_run(*evaluate)
    assert (done.json()["resampling_unit"], done.stderr.count("manifest.csv")) == ("groups", 0)
    images = sorted((grouped / "test").rglob("*.jpg"))
    images[0].rename(images[0].with_name("renamed.jpg"))
    done = cli_run(*evaluate)
    assert done.json()["resampling_unit"] == "images"
    n = len(images)
    renamed = f"{images[0].parent.name}/renamed.jpg"
    assert (
        f"warning: d/manifest.csv, split test: 1 of {n} images are not listed ({renamed}), 1 of the {n} "
        "listed are not there; the intervals treat all its images as independent"
    ) in done.stderr


def test_a_damaged_manifest_is_refused_before_training(
    refused: Callable[..., str], grouped: Path, tmp_path: Path
) -> None:
    (grouped / "manifest.csv").write_text('split,class,file,group\n"train', encoding="utf-8")
    assert "cannot read d/manifest.csv" in refused("train", "--data", "d", *TINY, "--out", "run")
    (grouped / "manifest.csv").write_text("a,b\n", encoding="utf-8")
    assert "d/manifest.csv needs the columns" in refused("train", "--data", "d", *TINY, "--out", "run")
    assert not (tmp_path / "run").exists()
