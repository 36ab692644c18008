from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.screening import readable_splits, write_unreadable
from skinlesion_cli.data.splits import Split, read_split
from tests.conftest import CLASSES, draw_data_set


def splits_of(data: Path) -> dict[str, Split]:
    return {name: read_split(data, name) for name in ("train", "val")}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_decoded_to_its_end_is_left_out_of_every_split(tmp_path: Path, workers: int) -> None:
    data = draw_data_set(tmp_path, {"train": (3, 2), "val": (2, 1)}, CLASSES[:2])
    # A whole head and half the pixels: looking at the head does not find it.
    cut = data / "train" / CLASSES[0] / "1.jpg"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (data / "val" / CLASSES[0] / "0.jpg").write_text("no picture", encoding="utf-8")
    before = splits_of(data)
    kept, faults = readable_splits(before, workers)
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
    assert "0.jpg: it is not an image of a known kind" in faults[1]


def test_a_class_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    data = draw_data_set(tmp_path, {"train": (2, 1), "val": (1, 1)}, CLASSES[:2])
    (data / "train" / CLASSES[1] / "0.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=f"no image of {CLASSES[1]} can be read"):
        readable_splits(splits_of(data), 0)


def test_the_list_is_that_of_this_run(tmp_path: Path) -> None:
    path = tmp_path / "unreadable.txt"
    write_unreadable(path, ["cannot read a: x", "cannot read b\udce9: y"])
    assert path.read_text(encoding="utf-8") == "cannot read a: x\ncannot read b\\udce9: y\n"
    write_unreadable(path, [])
    assert not path.exists()
