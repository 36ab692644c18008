import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from skinlesion_cli.curation.check_log import last_check
from tests.conftest import CLASSES, Run, draw_data_set
from tests.support.icc import profile_of

KEYS = {
    "images",
    "splits",
    "unreadable",
    "families",
    "pairs",
    "groups_across_splits",
    "test_images",
    "test_with_sibling_in_train",
    "leaking",
}


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """A data set without a fault."""
    return draw_data_set(tmp_path / "data", {"train": (3, 2, 2), "val": (1, 1, 1), "test": (2, 1, 1)})


@pytest.fixture
def faulty(clean: Path) -> Path:
    """A copy across splits, one in other pixels, one under another label, a broken file and a stray one."""
    train, test = clean / "train", clean / "test"
    shutil.copy(train / CLASSES[0] / "0.jpg", test / CLASSES[0] / "copy.jpg")
    with Image.open(train / CLASSES[1] / "1.jpg") as image:
        image.save(clean / "val" / CLASSES[1] / "other.png")
    shutil.copy(train / CLASSES[2] / "0.jpg", train / CLASSES[0] / "mislabelled.jpg")
    (test / CLASSES[1] / "broken.jpg").write_bytes((test / CLASSES[1] / "0.jpg").read_bytes()[:1500])
    (test / CLASSES[1] / "notes.txt").touch()
    return clean


def test_a_clean_data_set_exits_with_0(cli_run: Run, clean: Path) -> None:
    done = cli_run("data", "check", clean)
    unknown = "by pixels; lesions and patients are unknown."
    assert f"0 of 4 test images (0.0 %) have a sibling in train {unknown}" in done.stdout
    assert "imbalance ratio in train: 1.5 : 1" in done.stdout
    assert "colour modes: RGB (14)" in done.stdout


def test_json_has_the_documented_keys(cli_run: Run, faulty: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in faulty.rglob("*")}
    document = cli_run("data", "check", faulty, "--json", code=1).json()
    assert set(document) >= KEYS
    assert document["images"] == 17
    assert document["splits"]["test"] == dict(zip(CLASSES, (3, 1, 1), strict=True))
    assert document["unreadable"] == [f"test/{CLASSES[1]}/broken.jpg"]
    assert document["not_images"] == [f"test/{CLASSES[1]}/notes.txt"]
    pairs = [
        ({pair["a"], pair["b"]}, pair["kind"], pair["across_splits"], pair["same_class"])
        for pair in document["pairs"]
    ]
    # Those whose labels disagree come first.
    mislabelled = {f"train/{CLASSES[0]}/mislabelled.jpg", f"train/{CLASSES[2]}/0.jpg"}
    assert pairs[0] == (mislabelled, "bytes", False, False)
    copied = {f"train/{CLASSES[0]}/0.jpg", f"test/{CLASSES[0]}/copy.jpg"}
    assert (copied, "bytes", True, True) in pairs
    encoded = {f"train/{CLASSES[1]}/1.jpg", f"val/{CLASSES[1]}/other.png"}
    assert (encoded, "pixels", True, True) in pairs
    assert {frozenset(family) for family in document["families"]} == {
        frozenset(one) for one in (mislabelled, copied, encoded)
    }
    assert (document["test_images"], document["test_with_sibling_in_train"]) == (5, 1)
    assert document["leaking"] is True
    assert {path: path.stat().st_mtime_ns for path in faulty.rglob("*")} == before


def test_groups_that_span_splits_are_leaks(cli_run: Run, clean: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (clean / split / CLASSES[0] / "0.jpg").rename(clean / split / CLASSES[0] / f"{split}.jpg")
    rows = ["L1,train", "L1,test", *(f"L2,{split}/{CLASSES[1]}/0" for split in ("train", "test"))]
    (tmp_path / "groups.csv").write_text("\n".join(["lesion_id,image_id", *rows]), encoding="utf-8")
    document = cli_run("data", "check", clean, "--groups", "groups.csv", "--json", code=1).json()
    assert document["groups_across_splits"] == ["L1", "L2"]
    assert document["pairs"] == []
    assert document["leaking"] is True
    assert document["test_with_sibling_in_train"] == 2
    assert document["images_with_group"] == {"train": 2, "val": 0, "test": 2}
    text = cli_run("data", "check", clean, "--groups", "groups.csv", code=1).stdout
    assert (
        "images with a group: 4 of 14 (train 2 of 7, val 0 of 3, test 2 of 4); 10 without, each its own"
        in text
    )


def test_the_page_is_self_contained(cli_run: Run, faulty: Path, tmp_path: Path) -> None:
    hostile = faulty / "train" / CLASSES[0] / "<script>alert(1)<script>.jpg"
    shutil.copy(faulty / "train" / CLASSES[0] / "0.jpg", hostile)
    cli_run("data", "check", faulty, "--report", "page.html", code=1)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "1 of 5 test images (20.0 %) have a sibling in train by pixels;" in page
    assert page.count("data:image/jpeg;base64,") >= 6
    assert "<script>alert" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert page.index("across splits") < page.index("mislabelled.jpg</figcaption>")


def test_missing_and_misspelt_classes_and_skipped_folders_are_named(cli_run: Run, clean: Path) -> None:
    (clean / "val" / CLASSES[2]).rename(clean / "val" / "synthetic rings")
    (clean / "test" / "empty").mkdir()
    thumbnails = clean / "test" / CLASSES[0] / "@eaDir"
    shutil.copytree(clean / "test" / CLASSES[1], thumbnails)
    done = cli_run("data", "check", clean)
    err = done.stderr
    assert "1 hidden or system files and folders are skipped" in err
    assert "0 of 4 test images (0.0 %) have a sibling in train by pixels;" in done.stdout
    assert "val has no class 'synthetic ring'; did you mean synthetic rings?" in err
    assert "test/empty holds no images" in err


def test_a_check_is_remembered_until_a_file_changes(
    cli_run: Run, clean: Path, command_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", command_environment["XDG_CACHE_HOME"])
    assert "has not been checked for leaks" in last_check(clean)
    cli_run("data", "check", clean)
    assert "was checked on 20" in last_check(clean)
    assert "have a sibling in train" in last_check(clean)
    (clean / "test" / CLASSES[0] / "0.jpg").unlink()
    assert "has changed since it was checked" in last_check(clean)


def test_one_class_exits_with_2(cli_run: Run, clean: Path) -> None:
    for split in ("train", "val", "test"):
        for name in CLASSES[1:]:
            shutil.rmtree(clean / split / name)
    done = cli_run("data", "check", clean, code=2)
    assert f"train has only one class, '{CLASSES[0]}'; at least two are needed" in done.stderr


def test_what_is_left_out_is_counted_by_kind(cli_run: Run, clean: Path) -> None:
    picture = clean / "test" / CLASSES[0] / "0.jpg"
    picture.with_name("a.JXL").touch()
    picture.rename(picture.with_suffix(".jfif"))
    with Image.open(clean / "test" / CLASSES[0] / "1.jpg") as image:
        image.save(picture.with_name("p3.png"), icc_profile=profile_of("Display P3"))
    done = cli_run("data", "check", clean, "--no-near")
    assert "1 files are left out: .jxl (1); convert images to JPEG or PNG" in done.stderr
    assert "files that are not images: 1: .jxl (1)" in done.stdout
    assert "colour profiles, converted to sRGB unless damaged: Display P3 (1)" in done.stdout
    document = cli_run("data", "check", clean, "--no-near", "--json").json()
    assert (document["images"], document["colour_profiles"]) == (15, {"Display P3": 1})
    cut = document["cut_by_crop"]
    assert f"by the centre crop: {cut['images']} images ({cut['share']:.0%}; median" in done.stdout
    assert (cut["images"], cut["share"]) == (14, 14 / 15)
    assert 0.25 < cut["median"] < 0.5


def test_wrong_input_is_refused(refused: Callable[..., str], clean: Path, tmp_path: Path) -> None:
    assert "there is no folder absent" in refused("data", "check", "absent")
    (tmp_path / "other.csv").write_text("image,group\n0007,A\n", encoding="utf-8")
    assert "gives none of 14 images a group" in refused("data", "check", clean, "--groups", "other.csv")
    assert "cannot read the groups" in refused("data", "check", clean, "--groups", "absent.csv")
    (clean / "val" / CLASSES[2]).rename(clean / "val" / CLASSES[2].upper())
    assert "differ only in their case" in refused("data", "check", clean)
    (tmp_path / "void" / "train").mkdir(parents=True)
    shutil.copytree(clean / "train", tmp_path / "wrapped" / "train" / "images")
    assert "move the folders in wrapped/train/images" in refused("data", "check", "wrapped")
    assert "has no class folders" in refused("data", "check", "void")


ANOTHER_USER = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"]


def another_user_can_run_python() -> bool:
    """Only root becomes another user, who may not be able to enter the folder of this virtual environment."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    command = [*ANOTHER_USER, sys.executable, "-c", "import skinlesion_cli"]
    return subprocess.run(command, cwd="/", capture_output=True).returncode == 0


@pytest.mark.skipif(not another_user_can_run_python(), reason="needs root and a Python that all may read")
def test_a_user_without_a_home_folder_needs_no_cache(data: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    check = [sys.executable, "-m", "skinlesion_cli", "data", "check", ".", "--num-workers", "0"]
    # Not in pytest's folder, which only its own user may enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(data, folder, dirs_exist_ok=True)
        done = subprocess.run([*ANOTHER_USER, *check], cwd=folder, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fingerprints, check = (line for line in done.stderr.splitlines() if "home" in line)
    assert fingerprints.startswith("fingerprints are not kept for the next check: this user has no home")
    assert check.startswith("warning: this check is not recorded: this user has no home folder for a cache")
