from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Event, Warned
from skinlesion_cli.curation.groups import read_groups
from skinlesion_cli.data.manifest import (
    ManifestRow,
    Origins,
    check_manifest,
    groups_in,
    origins_in,
    origins_of,
    write_manifest,
)
from skinlesion_cli.data.splits import read_split


def test_a_splits_origins_come_from_the_manifest(tmp_path: Path) -> None:
    files = [Path("x/a.jpg"), Path("y/b.jpg")]
    assert origins_of(tmp_path, "test", files) == Origins(None, None)
    rows = [ManifestRow("test", "x", "a.jpg", "L1", "s"), ManifestRow("test", "y", "b.jpg", "L2", "t")]
    path = write_manifest(tmp_path, [*rows, ManifestRow("train", "x", "a.jpg", "L9", "u")])
    assert origins_of(tmp_path, "test", files) == Origins(["L1", "L2"], ["s", "t"])
    turned = [Path("X/a.jpg"), Path("y/B.jpg")]
    assert origins_of(tmp_path, "test", turned) == Origins(["L1", "L2"], ["s", "t"])
    # With an image that is not in it, groups are of no use; the sources of the others are.
    assert origins_of(tmp_path, "test", [*files, Path("x/new.jpg")]) == Origins(None, ["s", "t", ""])
    path.write_text("split,class,file,group\ntest,x,a.jpg,L1\ntest,y,b.jpg,L2\n", encoding="utf-8")
    assert origins_of(tmp_path, "test", files) == Origins(["L1", "L2"], None)
    path.write_text("split,file\n", encoding="utf-8")
    with pytest.raises(InputError, match="needs the columns"):
        origins_of(tmp_path, "test", files)


def test_groups_that_nobody_gave_are_none(tmp_path: Path) -> None:
    rows = [ManifestRow("test", "x", f"{name}.jpg", "x/a.jpg", "s") for name in "ab"]
    path = write_manifest(tmp_path, [*rows, ManifestRow("train", "y", "c.jpg", "y/c.jpg", "s")])
    assert origins_of(tmp_path, "test", [Path("x/a.jpg"), Path("x/b.jpg")]) == Origins(None, ["s", "s"])
    assert groups_in(path, "test", ["x/a.jpg", "x/b.jpg"]) is None
    assert read_groups(path) == {}
    # An ID that only looks like a name is one.
    path = write_manifest(tmp_path, [ManifestRow("test", "x", f"{n}.jpg", "1", "s") for n in (1, 2)])
    assert set(read_groups(path).values()) == {"1"}
    assert groups_in(path, "test", ["x/1.jpg", "x/2.jpg"]) == ["1", "1"]


def test_predictions_name_their_images_as_the_manifest_does(tmp_path: Path) -> None:
    rows = [ManifestRow(split, "x", "a.jpg", f"L-{split}", "s") for split in ("train", "test")]
    path = write_manifest(tmp_path, rows)
    assert origins_in(path, "test", ["x/a.jpg"]) == Origins(["L-test"], ["s"])
    assert origins_in(path, "train", ["train/x/a.jpg"]) == Origins(["L-train"], ["s"])
    for image in ("a.jpg", "train/x/a.jpg"):
        with pytest.raises(InputError, match=f"has no image {image} in the split test; choose another"):
            origins_in(path, "test", [image])


def test_predictions_whose_images_have_no_group_are_told(tmp_path: Path) -> None:
    rows = [ManifestRow("test", "x", "a.jpg", "P", "s"), ManifestRow("test", "x", "b.jpg", "", "s")]
    path, events = write_manifest(tmp_path, rows), list[Event]()
    assert origins_in(path, "test", ["x/a.jpg", "x/b.jpg"], events.append).groups is None
    effect = "the intervals treat all its images as independent"
    assert events == [Warned(f"{path}, split test: 1 of 2 images have no group (x/b.jpg); {effect}")]


def test_what_a_manifest_does_not_say_is_told(tmp_path: Path) -> None:
    for name in ("test/x/a.jpg", "test/x/b.jpg", "test/y/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    split = read_split(tmp_path, "test")

    def told(*rows: tuple[str, str]) -> list[str]:
        images = [(*name.split("/"), group) for name, group in rows]
        write_manifest(tmp_path, [ManifestRow("test", *image, "s") for image in images])
        events: list[Event] = []
        check_manifest(tmp_path, [split], events.append)
        assert all(isinstance(event, Warned) for event in events)
        return [event.text.split("split test: ")[1] for event in events if isinstance(event, Warned)]

    assert told(("x/a.jpg", "P"), ("x/b.jpg", "P"), ("y/c.jpg", "y/c.jpg")) == []
    assert told(("x/a.jpg", "x/a.jpg"), ("x/b.jpg", "x/b.jpg"), ("y/gone.jpg", "y/gone.jpg")) == []
    assert told(("x/a.jpg", ""), ("x/b.jpg", ""), ("y/c.jpg", "")) == []
    effect = "; the intervals treat all its images as independent"
    assert told(("x/a.jpg", "P"), ("x/b.jpg", ""), ("y/gone.jpg", "Q")) == [
        "1 of 3 images are not listed (y/c.jpg), 1 of the 3 listed are not there, "
        f"1 of 3 images have no group (x/b.jpg){effect}"
    ]
    copies = told(("x/a.jpg", "x/a.jpg"), ("x/b.jpg", "x/a.jpg"), ("y/c.jpg", "y/c.jpg"))
    assert copies == [f"1 of 3 images are copies of others{effect}"]
