from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Event, Note, Warned
from skinlesion_cli.data.manifest import Origins, origins_in, origins_of, other_columns
from skinlesion_cli.data.splits import read_split, read_splits
from skinlesion_cli.data.table import DataTable, read_data_table, write_data_table


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def table(
    folder: Path, text: str, images: Path | None = None, events: list[Event] | None = None
) -> DataTable:
    folder.mkdir(exist_ok=True)
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return read_data_table(folder / "t.csv", images, [].append if events is None else events.append)


def labels_of(found: DataTable) -> dict[str, str]:
    return {row.file: row.label for row in found.rows}


def test_a_table_has_the_order_of_the_same_data_set_as_folders(tmp_path: Path) -> None:
    # A folder comes after the files beside it, whatever its name; upper case before lower case.
    images = ("b/z.jpg", "b/1/a.jpg", "b/B.jpg", "b/a.jpg", "b/a/0.png", "a/x.jpg", "a/é.jpg", "C/0.jpg")
    names = [f"{split}/{image}" for split in ("train", "val") for image in images]
    touch(tmp_path, *names)
    rows = "\n".join(f"{name},{name.split('/')[1]},{name.split('/')[0]}" for name in reversed(names))
    (tmp_path / "t.csv").write_text(f"file,label,split\n{rows}\n", encoding="utf-8")
    folders = read_splits(tmp_path, ["train"], ["val", "test"])
    tables = read_splits(tmp_path / "t.csv", ["train"], ["val", "test"])
    assert tables.keys() == folders.keys() == {"train", "val"}
    for name, split in folders.items():
        assert (tables[name].classes, tables[name].labels) == (split.classes, split.labels)
        assert tables[name].paths == split.paths
        assert [str(path.relative_to(tmp_path)) for path in split.paths] == [
            str(f) for f in tables[name].files
        ]


def test_the_images_may_be_elsewhere(tmp_path: Path) -> None:
    touch(tmp_path / "photos", "a.jpg", "in/b.jpg")
    found = table(tmp_path / "tables", "file,label\na.jpg,x\nin\\b.jpg,y\n", tmp_path / "photos")
    assert labels_of(found) == {"a.jpg": "x", "in/b.jpg": "y"}
    assert found.paths[1] == tmp_path / "photos" / "in" / "b.jpg"
    with pytest.raises(
        InputError, match=r"'a.jpg' is not a file in .*tables; choose another folder with --images"
    ):
        table(tmp_path / "tables", "file,label\na.jpg,x\n")
    with pytest.raises(
        InputError, match="there is no folder gone; give the folder of the images with --images"
    ):
        table(tmp_path / "tables", "file,label\na.jpg,x\n", Path("gone"))
    with pytest.raises(InputError, match=r"there is no table gone.csv; give the data set"):
        read_split(Path("gone.csv"), "test")
    with pytest.raises(InputError, match=r"--images gone needs a table, and .* is a folder"):
        read_split(tmp_path, "test", images_root=Path("gone"))


def test_isics_one_hot_truth_is_read_as_published(tmp_path: Path) -> None:
    touch(tmp_path / "i", "ISIC_1.jpg", "ISIC_2.PNG", "other.jpg")
    events: list[Event] = []
    text = (
        "image,MEL,NV,UNK,score_weight\nISIC_1,0.0,1.0,0.0,1.0\nISIC_0,1.0,0.0,0.0,0\nISIC_2,1.0,0.0,0.0,1\n"
    )
    found = table(tmp_path, text, tmp_path / "i", events)
    assert labels_of(found) == {"ISIC_1.jpg": "NV", "ISIC_2.PNG": "MEL"}
    assert found.left_out == 1
    note, event = events
    assert note == Note(f"{tmp_path / 't.csv'}: files from the column image, labels from MEL, NV, UNK")
    assert isinstance(event, Warned)
    assert event.text == (
        f"{tmp_path / 't.csv'}: 1 of 3 rows are left out, without an image (line 3: 'ISIC_0')"
    )
    split = read_split(tmp_path / "t.csv", "test", images_root=tmp_path / "i")
    assert other_columns(tmp_path / "t.csv", "test", split.files) == {"score_weight": ["1", "1.0"]}


def test_published_metadata_are_read_and_its_images_found_in_several_folders(tmp_path: Path) -> None:
    touch(tmp_path, "part_1/H_1.jpg", "part_2/H_2.jpg", "part_2/H_3.jpg", "part_2/.H_4.jpg")
    head = "lesion_id,image_id,dx,age,sex\n"
    text = f"{head}L1,H_1,nv,80.0,male\nL1,H_2,nv,80.0,male\nL2,H_3,,,unknown\nL3,H_4,nv,,"
    events: list[Event] = []
    found = table(tmp_path, text, events=events)
    assert labels_of(found) == {"part_1/H_1.jpg": "nv", "part_2/H_2.jpg": "nv"}
    assert found.groups == {"part_1/H_1.jpg": "L1", "part_2/H_2.jpg": "L1"}
    assert [event.text.partition("left out, ")[2] for event in events if isinstance(event, Warned)] == [
        "without a label (line 4: 'H_3')",
        "without an image (line 5: 'H_4')",
    ]
    path, files = tmp_path / "t.csv", read_split(tmp_path / "t.csv", "test").files
    assert origins_of(path, "test", files) == Origins(["L1", "L1"], None)
    assert other_columns(path, "test", files)["age"] == ["80.0", "80.0"]
    touch(tmp_path, "masks/H_1.png")
    with pytest.raises(InputError, match=r"line 2: 'H_1' may be masks/H_1.png, part_1/H_1.jpg"):
        table(tmp_path, text)
    with pytest.raises(InputError, match=r"none of its images is in .* \(line 2: 'x'\); give the folder of"):
        table(tmp_path, "isic_id,diagnosis\nx,nevus\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file,label\n", "needs the columns file,label and at least one row; it has file, label"),
        ("name,label\na.jpg,x\n", "needs the columns file,label .*it has name, label"),
        ("file;label\na.jpg;x\n", "it has file;label; separate its cells by commas"),
        ("image,age,sex\na,30,male\n", "needs the columns file,label"),
        ("file,label,label\na.jpg,x,y\n", "more than one column label"),
        ("file,label\na.jpg,x\nb.jpg,x\ngone.jpg,y\n", "line 4: 'gone.jpg' is not a file in"),
        ("file,label\na.jpg,x\n\nb.jpg,\n", "line 4: 'b.jpg' has no label"),
        ("file,label\na.jpg,x\n,y\n", "line 3: the file is missing"),
        ("file,label\na.jpg,x\n./a.jpg,x\n", "line 3: './a.jpg' is also the file of line 2; keep one"),
        ("file,label\na.jpg,x\na,y\n", "line 3: 'a' is also the file of line 2"),
        ("file,label,split\na.jpg,x,train\nb.jpg,y,vall\n", "line 3: .* split 'vall'; did you mean val"),
        ("file,label,split\na.jpg,x,\n", "no row is left"),
        ("file,label\na.jpg,Nevus\nb.jpg,nevus\n", "differ only in their case"),
        ("file,label\ntwice,x\n", "line 2: 'twice' may be twice.jpg, twice.png in"),
        ("image,MEL,NV\na,1.0,0.0\nb,1.0,1.0\n", r"line 3: one of MEL, NV must be 1; 2 are \(MEL, NV\)"),
        ("image,MEL,NV\na,1.0,0.0\nb,0.0,0.0\n", "line 3: one of MEL, NV must be 1; none is"),
        ("image,MEL,NV\na,1.0,0.0\nb,0.7,0.3\n", "line 3: MEL is '0.7'; a class is 0 or 1"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "twice.jpg", "twice.png")
    with pytest.raises(InputError, match=reason) as caught:
        table(tmp_path, text)
    assert "t.csv" in str(caught.value)


def test_rows_without_a_split_are_left_out_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    events: list[Event] = []
    found = table(tmp_path, "file,class,split\na.jpg,x,train\nb.jpg,y,\nc.jpg,y,train\n", events=events)
    assert (found.counts["train"], found.split("train").left_out) == (2, 1)
    assert [type(event) for event in events] == [Warned]
    with pytest.raises(InputError, match=r"no images of the split 'test'; it has train \(2\)"):
        found.split("test")


def test_a_table_without_splits_is_a_test_set_and_not_for_training(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    found, events = table(tmp_path, "file,label\na.jpg,x\nb.jpg,y\n"), list[Event]()
    assert found.split("test", events.append).counts == {"x": 1, "y": 1}
    assert events == [Note(f"{tmp_path / 't.csv'} has no column split: all 2 images are scored")]
    line = f"skinlesion data split {tmp_path / 't.csv'} --out splits.csv"
    for name in ("train", "val"):
        with pytest.raises(InputError, match=f"has no column split; make one with: {line}"):
            found.split(name)


def test_the_coarser_group_holds(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}.jpg" for name in "abcdef"))
    rows = ("a,L1,P1", "b,L2,P1", "c,L1,", "d,L3,NA", "e,,", "f,,f.jpg")
    text = "\n".join(f"{row[0]}.jpg,x,{row[2:]}" for row in rows)
    found = table(tmp_path, f"file,label,lesion,patient\n{text}\n")
    assert found.groups == {"a.jpg": "P1", "b.jpg": "P1", "c.jpg": "P1", "d.jpg": "L3"}
    # A column of groups comes before both.
    found = table(tmp_path, "file,label,lesion,patient,group\na.jpg,x,L1,P1,G\nb.jpg,x,L1,P1,\n")
    assert found.groups == {"a.jpg": "G", "b.jpg": "P1"}


def test_what_is_written_is_read_again_with_all_columns(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "=b.jpg")
    text = "Age,FILE,label,split,group,source\n30,a.jpg,x,train,G,s\n,=b.jpg,-y,test,H,\n"
    found = table(tmp_path, text)
    write_data_table(tmp_path / "again.csv", found.rows)
    again = read_data_table(tmp_path / "again.csv")
    assert [(row.file, row.label, row.split, row.group, row.source, row.others) for row in again.rows] == [
        ("a.jpg", "x", "train", "G", "s", {"Age": "30"}),
        ("=b.jpg", "-y", "test", "H", "", {"Age": ""}),
    ]
    assert origins_in(tmp_path / "again.csv", "train", ["a.jpg"]) == Origins(["G"], ["s"])
