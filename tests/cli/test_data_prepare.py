"""The published downloads, in miniature: their folders, names and tables, with drawn images."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from skinlesion_cli.curation.synthetic import draw_lesion
from tests.conftest import Run

CODES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
PICTURE = draw_lesion("synthetic blotch", 1)


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.save(path)


def write_table(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def ham(tmp_path: Path) -> Path:
    """Three lesions of nv with two images each, six of akiec, one row without a file."""
    folder = tmp_path / "ham"
    rows = [[f"HAM_{i // 2}", f"ISIC_{i:07}", "nv", "80.0", "male", "scalp"] for i in range(6)]
    rows += [[f"HAM_A{i}", f"ISIC_10000{i:02}", "akiec", "", "unknown", "face"] for i in range(6)]
    for i, row in enumerate(rows):
        save(folder / f"HAM10000_images_part_{1 + i % 2}" / f"{row[1]}.jpg")
    rows.append(["HAM_X", "ISIC_9999999", "nv"])
    header = ["lesion_id", "image_id", "dx", "age", "sex", "localization"]
    write_table(folder / "HAM10000_metadata.csv", header, rows)
    save(folder / "HAM10000_images_part_1" / "ISIC_5555555.jpg")
    return folder


@pytest.fixture
def isic(tmp_path: Path) -> Path:
    """All of `ham` again under its own truth, three melanomas more, and one image of an unknown class."""
    folder = tmp_path / "isic"
    images = {f"ISIC_{i:07}": ("NV", f"HAM_{i // 2}") for i in range(6)}
    images |= {f"ISIC_10000{i:02}": ("AK" if i < 3 else "SCC", f"HAM_A{i}") for i in range(6)}
    images |= {"ISIC_2000000_downsampled": ("MEL", "BCN_1"), "ISIC_2000001": ("MEL", "BCN_1")}
    images |= {"ISIC_2000002": ("MEL", ""), "ISIC_2000003": ("MEL", ""), "ISIC_3000000": ("UNK", "")}
    for name in images:
        save(folder / "ISIC_2019_Training_Input" / "ISIC_2019_Training_Input" / f"{name}.jpg")
    truth = [
        [name, *("1.0" if code == mark else "0.0" for code in CODES)] for name, (mark, _) in images.items()
    ]
    write_table(folder / "ISIC_2019_Training_GroundTruth.csv", ["image", *CODES], truth)
    lesions = [[name, "35", "anterior torso", lesion, "female"] for name, (_, lesion) in images.items()]
    header = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
    write_table(folder / "ISIC_2019_Training_Metadata.csv", header, lesions)
    return folder


@pytest.fixture
def msld(tmp_path: Path) -> Path:
    """Four patients of mpox, the second with two images, repeated in two folds, with augmented copies."""
    folder = tmp_path / "msld"
    names = ["MKP_01_01", "MKP_02_01", "MKP_02_02", "MKP_03_01", "MKP_04_01"]
    for fold in (1, 2):
        for i, name in enumerate(names):
            part = ("Train", "Valid", "Test")[(i + fold) % 3]
            save(folder / "Original Images" / "FOLDS" / f"fold{fold}" / part / "Monkeypox" / f"{name}.jpg")
            save(folder / "Augmented Images" / "FOLDS_AUG" / f"fold{fold}_AUG" / "Train" / f"{name}_aug.jpg")
    save(folder / "Original Images" / "Keywords.jpg")
    return folder


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_three_become_one_data_set(
    cli_run: Run, ham: Path, isic: Path, msld: Path, tmp_path: Path
) -> None:
    text = cli_run(
        "data", "prepare", "--out", "d", "--ham10000", ham, "--isic2019", isic, "--msld", msld
    ).stdout
    rows = manifest(tmp_path / "d")
    assert list(rows[0]) == ["split", "class", "file", "group", "source", "age", "sex", "site"]
    # Of the download that the image is taken from; what is unknown, and all of MSLD, is empty.
    people = {(row["source"], row["class"]): (row["age"], row["sex"], row["site"]) for row in rows}
    assert people == {
        ("HAM10000", "Melanocytic nevi"): ("80", "male", "scalp"),
        ("HAM10000", "Actinic keratoses"): ("", "", "face"),
        ("HAM10000", "Squamous cell carcinoma"): ("", "", "face"),
        ("ISIC 2019", "Melanoma"): ("35", "female", "anterior torso"),
        ("MSLD v2.0", "Monkeypox"): ("", "", ""),
    }
    files = {path.relative_to(tmp_path / "d").as_posix() for path in (tmp_path / "d").rglob("*.jpg")}
    assert files == {f"{row['split']}/{row['class']}/{row['file']}" for row in rows}
    by_class: dict[str, int] = {}
    for row in rows:
        by_class[row["class"]] = by_class.get(row["class"], 0) + 1
    assert by_class == {
        "Melanocytic nevi": 6,
        "Actinic keratoses": 3,
        "Squamous cell carcinoma": 3,
        "Melanoma": 4,
        "Monkeypox": 5,
    }
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["group"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    sizes = Counter(row["group"] for row in rows)
    several = {group for group, size in sizes.items() if size > 1}
    assert several == {"HAM_0", "HAM_1", "HAM_2", "BCN_1", "MSLD_MKP_02"}
    assert {"HAM_0", "BCN_1", "ISIC_2000002", "MSLD_MKP_02"} <= sides.keys()
    assert len({row["file"] for row in rows}) == len(rows)
    for line in (
        "HAM10000: 12 images taken",
        "left out 1: listed in the table, but no file",
        "left out 1: file without a row in the table",
        "left out 12: already taken from another download",
        "left out 10: augmented copy",
        "left out 5: repeated in another fold",
        "left out 1: name is not DISEASE_PATIENT_IMAGE",
        "licence: CC BY-NC 4.0",
        "cite: Tschandl",
    ):
        assert line in text, line


def test_without_the_truth_akiec_is_left_out_with_a_note(cli_run: Run, ham: Path, tmp_path: Path) -> None:
    text = cli_run("data", "prepare", "--out", "d", "--ham10000", ham).stdout
    assert "left out 6: akiec" in text
    assert {row["class"] for row in manifest(tmp_path / "d")} == {"Melanocytic nevi"}


def test_it_can_be_stopped_and_run_again(cli_run: Run, ham: Path, tmp_path: Path) -> None:
    command = ["data", "prepare", "--out", "d", "--ham10000", ham]
    cli_run(*command)
    expected = {path: path.read_bytes() for path in (tmp_path / "d").rglob("*") if path.is_file()}
    # As a killed run leaves it: no manifest, a file missing, another half written beside its place.
    (tmp_path / "d" / "manifest.csv").unlink()
    lost = next(path for path in expected if path.suffix == ".jpg")
    lost.rename(lost.with_name(f".{lost.stem}.0123abcd.jpg"))
    cli_run(*command)
    assert {path: path.read_bytes() for path in (tmp_path / "d").rglob("*") if path.is_file()} == expected


def test_links_share_the_originals_bytes(cli_run: Run, ham: Path, tmp_path: Path) -> None:
    cli_run("data", "prepare", "--out", "d", "--ham10000", ham, "--link")
    row = manifest(tmp_path / "d")[0]
    linked = tmp_path / "d" / row["split"] / row["class"] / row["file"]
    assert linked.stat().st_nlink == 2


def test_wrong_input_is_refused(refused: Callable[..., str], ham: Path, tmp_path: Path) -> None:
    prepare = ["data", "prepare", "--out", "d"]
    assert "at least one download" in refused(*prepare)
    assert "there is no folder absent" in refused(*prepare, "--msld", "absent")
    assert "no ISIC_2019_Training_GroundTruth.csv below" in refused(*prepare, "--isic2019", ham)
    assert "no usable image of MSLD v2.0" in refused(*prepare, "--msld", ham)
    assert "--ratios" in refused(*prepare, "--ham10000", ham, "--ratios", "1/2")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".precious.jpg").touch()
    assert "contains .precious.jpg, which does not belong to this data set" in refused(
        *prepare, "--ham10000", ham
    )
    assert (tmp_path / "d" / ".precious.jpg").exists()
    (tmp_path / "d" / "manifest.csv").touch()
    assert "already contains a finished data set" in refused(*prepare, "--ham10000", ham)


def test_resized_copies_and_masks_are_not_taken(
    cli_run: Run, refused: Callable[..., str], ham: Path, isic: Path, msld: Path, tmp_path: Path
) -> None:
    small = PICTURE.resize((28, 28))
    for file in (
        ham / "224" / "ISIC_0000000.jpg",
        ham / "HAM10000_images_part_1" / "224" / "ISIC_0000000.jpg",
        ham / "A masks" / "ISIC_0000001.png",
        isic / "A resized" / "ISIC_2000001.jpg",
        msld / "224" / "MKP_01_01.jpg",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        small.save(file)
    text = cli_run(
        "data", "prepare", "--out", "d", "--ham10000", ham, "--isic2019", isic, "--msld", msld
    ).stdout
    assert [line.strip() for line in text.splitlines() if "published folder" in line] == [
        f"left out {number}: not in a published folder" for number in (3, 1, 1)
    ]
    sizes = set()
    for path in (tmp_path / "d").rglob("*.*g"):
        with Image.open(path) as image:
            sizes.add(image.size)
    assert sizes == {PICTURE.size}
    # Without a published folder, nothing tells which of the two is the original.
    for part in (1, 2):
        (ham / f"HAM10000_images_part_{part}").rename(ham / f"part {part}")
    message = refused("data", "prepare", "--out", "e", "--ham10000", ham)
    assert (
        f"ISIC_0000000 is in two files that differ, {ham}/224/ISIC_0000000.jpg and {ham}/part 1/" in message
    )


def test_an_mpox_image_that_two_folds_show_differently_is_refused(
    refused: Callable[..., str], msld: Path
) -> None:
    twice = sorted((msld / "Original Images").rglob("MKP_01_01.jpg"))
    PICTURE.resize((28, 28)).save(twice[1])
    message = refused("data", "prepare", "--out", "d", "--msld", msld)
    assert f"MKP_01_01 is in two files that differ, {twice[0]} and {twice[1]}; keep the published" in message


def test_two_different_tables_of_one_name_are_refused(refused: Callable[..., str], ham: Path) -> None:
    table = ham / "HAM10000_metadata.csv"
    (ham / "A").mkdir()
    (ham / "A" / table.name).write_text(table.read_text(encoding="utf-8") + "x,y,nv\n", encoding="utf-8")
    message = refused("data", "prepare", "--out", "d", "--ham10000", ham)
    assert f"HAM10000_metadata.csv is in two files that differ, {ham}/A/" in message
