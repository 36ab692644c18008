"""The audit and the split as functions of the library."""

import json
import shutil
from pathlib import Path

import pytest

import skinlesion_cli
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Event, ImagesDone
from skinlesion_cli.curation.build import split_data_set
from skinlesion_cli.curation.check_log import read_check
from tests.conftest import CLASSES, draw_data_set


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_audit_is_a_function_that_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = draw_data_set(tmp_path / "data", {"train": (2, 1, 1), "test": (1, 1, 1)})
    shutil.copy(data / "train" / CLASSES[0] / "0.jpg", data / "test" / CLASSES[1] / "copy.jpg")
    (data / "test" / CLASSES[2] / "broken.jpg").touch()
    events: list[Event] = []
    found = skinlesion_cli.audit(str(data), num_workers=1, on_event=events.append)
    assert isinstance(found, skinlesion_cli.Audit)
    assert found.rows() == [
        {
            "a": f"train/{CLASSES[0]}/0.jpg",
            "b": f"test/{CLASSES[1]}/copy.jpg",
            "kind": "bytes",
            "across_splits": True,
            "same_class": False,
        }
    ]
    assert found.verdict() == (
        "1 of 4 test images (25.0 %) have a sibling in train by pixels; lesions and patients are unknown."
    )
    document = json.loads(json.dumps(found.to_dict()))
    assert document["leaking"] is found.leaking is True
    assert document["unreadable"] == [f"test/{CLASSES[2]}/broken.jpg"]
    # Each image is read once.
    assert [event for event in events if isinstance(event, ImagesDone) and event.task == "reading"] == [
        ImagesDone("reading", done, 9) for done in range(1, 10)
    ]
    (data / "page.html").touch()
    check = read_check(data)
    assert check is not None
    assert (check.verdict, check.leaking, check.outdated) == (found.verdict(), True, False)
    assert capsys.readouterr() == ("", "")


def test_the_check_of_a_table_is_of_its_labels_and_images(tmp_path: Path) -> None:
    data = draw_data_set(tmp_path / "data", {"train": (1, 1)})
    table, first = tmp_path / "t.csv", f"train/{CLASSES[0]}/0.jpg"

    def outdated() -> bool:
        check = read_check(table, data)
        assert check is not None
        return check.outdated

    second = f"train/{CLASSES[1]}/0.jpg,y,train,"
    table.write_text(f"file,label,split,group\n{first},x,train,P\n{second}P\n", encoding="utf-8")
    found = skinlesion_cli.audit(table, images=data, num_workers=0)
    assert found.to_dict()["images_with_group"] == {"train": 2}
    assert not outdated()
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace(",x,", ",z,"), encoding="utf-8")
    assert outdated()
    table.write_text(text, encoding="utf-8")
    assert not outdated()
    (data / first).unlink()
    assert outdated()


def test_the_manifest_gives_the_groups_unless_others_are_named(tmp_path: Path) -> None:
    data = draw_data_set(tmp_path / "data", {"train": (1,), "test": (1,)}, CLASSES[:1])
    lines = [f"{split},{CLASSES[0]},0.jpg,L1,s" for split in ("train", "test")]
    (data / "manifest.csv").write_text("\n".join(["split,class,file,group,source", *lines]), encoding="utf-8")
    assert skinlesion_cli.audit(data, near=False).groups_across_splits == ("L1",)
    other = tmp_path / "other.csv"
    other.write_text(f"image,group\ntrain/{CLASSES[0]}/0.jpg,L2\n", encoding="utf-8")
    assert skinlesion_cli.audit(data, groups=other, near=False).groups_across_splits == ()
    other.write_text("image,group\nabsent,L2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"other.csv gives none of 2 images a group: it names 'absent'"):
        skinlesion_cli.audit(data, groups=other, near=False)
    with pytest.raises(InputError, match="there is no folder"):
        skinlesion_cli.audit(tmp_path / "absent")


def test_the_verdict_without_a_test_split(tmp_path: Path) -> None:
    data = draw_data_set(tmp_path / "data", {"train": (1,), "val": (1,)}, CLASSES[:1])
    shutil.copy(data / "train" / CLASSES[0] / "0.jpg", data / "val" / CLASSES[0] / "copy.jpg")
    found = skinlesion_cli.audit(data, near=False)
    assert found.verdict() == "there is no test split, but other splits share photographs or groups."
    assert found.leaking


def test_a_split_is_a_function_whose_result_counts_its_images(tmp_path: Path) -> None:
    source = draw_data_set(tmp_path, {"source": (6, 5)}, CLASSES[:2]) / "source"
    built = split_data_set(source, tmp_path / "d", near=False, ratios="60/20/20", num_workers=1)
    assert (built.folder, len(built.images), built.groups) == (tmp_path / "d", 11, 11)
    counts = built.counts()
    assert {split: sum(of_split.values()) for split, of_split in counts.items()} == {
        split: len(list((tmp_path / "d" / split).rglob("*.jpg"))) for split in ("train", "val", "test")
    }
    assert not skinlesion_cli.audit(tmp_path / "d", near=False).leaking
