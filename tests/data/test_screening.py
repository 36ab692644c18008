import os
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.screening import (
    Screening,
    examine,
    screen,
    shorter_side,
    write_unreadable,
)
from skinlesion_cli.data.splits import Split, read_split
from tests.conftest import CLASSES, draw_data_set
from tests.support.opened import opened_below


def splits_of(data: Path) -> dict[str, Split]:
    return {name: read_split(data, name) for name in ("train", "val")}


def screened(splits: dict[str, Split], *, skip: bool = True, workers: int = 0) -> Screening:
    return screen(splits, img_size=64, skip=skip, workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_decoded_to_its_end_is_left_out_of_every_split(tmp_path: Path, workers: int) -> None:
    data = draw_data_set(tmp_path, {"train": (3, 2), "val": (2, 1)}, CLASSES[:2])
    # A whole head and half the pixels: looking at the head does not find it.
    cut = data / "train" / CLASSES[0] / "1.jpg"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (data / "val" / CLASSES[0] / "0.jpg").write_text("no picture", encoding="utf-8")
    before = splits_of(data)
    found = screened(before, workers=workers)
    kept, faults = found.splits, found.unreadable
    assert [file.as_posix() for file in kept["train"].files] == [
        f"{CLASSES[0]}/0.jpg",
        f"{CLASSES[0]}/2.jpg",
        f"{CLASSES[1]}/0.jpg",
        f"{CLASSES[1]}/1.jpg",
    ]
    assert kept["train"].labels == (0, 0, 1, 1)
    assert kept["val"].counts == {CLASSES[0]: 1, CLASSES[1]: 1}
    assert len(faults) == 2
    assert f"{cut}: " in faults[0]
    assert "0.jpg: it is not an image in a known format" in faults[1]


def test_a_class_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    data = draw_data_set(tmp_path, {"train": (2, 1), "val": (1, 1)}, CLASSES[:2])
    (data / "train" / CLASSES[1] / "0.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=f"no image of {CLASSES[1]} can be read"):
        screened(splits_of(data))


def test_the_list_is_that_of_this_run(tmp_path: Path) -> None:
    path = tmp_path / "unreadable.txt"
    write_unreadable(path, ["cannot read a: x", "cannot read b\udce9: y"])
    assert path.read_text(encoding="utf-8") == "cannot read a: x\ncannot read b\\udce9: y\n"
    write_unreadable(path, [])
    assert not path.exists()


def test_headers_alone_are_read_unless_files_are_to_be_skipped(tmp_path: Path) -> None:
    data = draw_data_set(tmp_path, {"train": (3, 2), "val": (2, 1)}, CLASSES[:2])
    cut = data / "train" / CLASSES[0] / "1.jpg"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    before = splits_of(data)
    assert screened(before, skip=False).splits == before
    for split, name in (("train", "0.jpg"), ("val", "1.jpg")):
        (data / split / CLASSES[0] / name).write_text("no picture", encoding="utf-8")
    with pytest.raises(UnreadableImageError) as told:
        screened(before, skip=False)
    assert str(told.value).count("it is not an image in a known format") == 2
    assert str(told.value).endswith("(2 such files in total): repair or remove them")


@pytest.mark.parametrize("decode", [False, True])
def test_one_look_finds_what_training_needs(tmp_path: Path, decode: bool) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.effect_noise((640, 480), 40).convert("RGB")
    for name in ("a.jpg", "b.png", "c.bmp", "d.tif"):
        picture.save(folder / name, **({} if name == "c.bmp" else {"exif": exif}))
        path = folder / name
        facts = examine(path, img_size=64, decode=decode)
        assert not isinstance(facts, str)
        assert facts.size == read_image(path, shorter=shorter_side(64)).size


def test_each_file_is_opened_once(data: Path) -> None:
    splits = splits_of(data)
    for skip in (False, True):
        with opened_below(data) as opened:
            found = screened(splits, skip=skip)
        assert len(opened) == 23 + 9
        assert opened == Counter(path for split in splits.values() for path in split.paths)
        assert found.facts.keys() == opened.keys()
        assert found.contents["val"].keys() == {file.as_posix() for file in splits["val"].files}


def test_a_missing_or_irregular_file_is_named(tmp_path: Path) -> None:
    assert str(examine(tmp_path / "gone.jpg", img_size=64)).endswith("gone.jpg: no such file")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert str(examine(tmp_path / "pipe.jpg", img_size=64)).endswith("pipe.jpg: it is not a regular file")
