from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.curation.groups import coverage_text, groups_of, read_groups


@pytest.mark.parametrize(
    "text",
    [
        "lesion_id,image_id,dx\nL1,a,nv\nL1,b,nv\nL2,c,nv\n",
        "image,age_approx,anatom_site_general,lesion_id,sex\na,5,x,L1,f\nb,5,x,L1,f\nc,5,x,L2,f\nd,5,x,,f\n",
        "split,class,file,group,source\ntrain,x,a.jpg,L1,s\ntest,x,b.JPG,L1,s\nval,x,c.png,L2,s\n",
        "Path,Patient_ID\nsome/folder/a.jpg,L1\nb,L1\nc.jpeg,L2\n",
    ],
)
def test_published_tables_and_others_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(text, encoding="utf-8-sig")
    groups = read_groups(path)
    files = ("train/x/a.jpg", "test/x/b.JPG", "val/x/c.png", "val/x/other.jpg")
    assert groups_of(groups, files) == ["L1", "L1", "L2", None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,id\na,1\n", "needs a column for the file"),
        ("", "needs a column"),
        ("image,group\na.jpg,1\na.jpg,2\n", "'a.jpg' is in the groups '1' and '2'"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_groups(path)


def grouped(tmp_path: Path, text: str, *files: str) -> list[str | None]:
    table = tmp_path / "groups.csv"
    table.write_text(text, encoding="utf-8")
    return groups_of(read_groups(table), files, tmp_path, table)


@pytest.mark.parametrize(
    "names", [("a/1.jpg", "b/1.jpg"), ("/other/a/1.jpg", "/other/b/1.jpg"), ("a/1", "b/1")]
)
def test_equal_names_in_different_folders_are_different_images(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    text = f"path,patient_id\n{names[0]},P\n{names[1]},Q\n"
    assert grouped(tmp_path, text, "a/1.jpg", "b/1.jpg", "c/1.jpg", "c/2.jpg") == ["P", "Q", None, None]
    # A table that has only one of the two does not give its patient to the other.
    text = f"path,patient_id\n{names[0]},P\n{names[1].replace('1', '7')},Q\n"
    assert grouped(tmp_path, text, "a/1.jpg", "b/1.jpg", "c/7.jpg") == ["P", None, None]


def test_a_bare_name_that_fits_several_files_is_refused_unless_they_are_copies(tmp_path: Path) -> None:
    for name, content in (("a/1.jpg", "x"), ("b/1.jpg", "y"), ("c/1.jpg", "x")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content, encoding="utf-8")
    text = "image,patient_id\n1,P\n"
    with pytest.raises(InputError, match=r"'1' in the table of groups fits a/1.jpg, b/1.jpg; it needs"):
        grouped(tmp_path, text, "a/1.jpg", "b/1.jpg")
    assert grouped(tmp_path, text, "a/1.jpg", "c/1.jpg") == ["P", "P"]


def test_a_manifest_from_elsewhere_is_matched_by_class_and_name(tmp_path: Path) -> None:
    rows = "train,x,1.jpg,L1\ntest,x,2.jpg,L2\nval,y,1.jpg,L3\n"
    text = "split,class,file,group\n" + rows
    assert grouped(tmp_path, text, "x/1.jpg", "x/2.jpg", "y/1.jpg") == ["L1", "L2", "L3"]
    # It was split otherwise here.
    assert grouped(tmp_path, text, "test/x/1.jpg", "test/x/2.jpg", "train/y/1.jpg") == ["L1", "L2", "L3"]
    # The classes have other names here.
    with pytest.raises(
        InputError, match=r"'train/x/1.jpg' and 'val/y/1.jpg' differ, and both fit the image A/1"
    ):
        grouped(tmp_path, text, "A/1.jpg", "A/2.jpg")


def test_names_are_text_and_come_before_stems(tmp_path: Path) -> None:
    text = "image,group\n00012,L1\n7.png,L2\n7.jpg,L3\n"
    assert grouped(tmp_path, text, "a/00012.jpg", "a/12.jpg", "a/7.jpg", "b/7.png") == [
        "L1",
        None,
        "L3",
        "L2",
    ]


def test_another_unicode_form_or_case_matches_where_nothing_else_does(tmp_path: Path) -> None:
    text = "image,group\nN\u00e6vus/Caf\u00e9.JPG,L1\nb,L2\nB,L3\nC,L4\n"
    files = ("n\u00e6vus/cafe\u0301.jpg", "x/b.jpg", "x/B.jpg", "x/c.jpg")
    assert grouped(tmp_path, text, *files) == ["L1", "L2", "L3", "L4"]
    with pytest.raises(InputError, match=r"'B' in the table of groups fits x/b.jpg, y/b.jpg"):
        grouped(tmp_path, "image,group\nB,L1\n", "x/b.jpg", "y/b.jpg")


def test_folders_of_another_machine_and_a_changed_suffix_do_not_matter(tmp_path: Path) -> None:
    text = "image_id,path,group\n1,C:\\data\\a.jpg,L1\n1,/data/b.png,L2\n"
    assert grouped(tmp_path, text, "x/a.jpg", "y/b.jpg", "y/1.jpg") == ["L1", "L2", None]


@pytest.mark.parametrize("number", ["12", "12.0", "012"])
def test_groups_that_match_nothing_are_refused_with_the_likely_reason(tmp_path: Path, number: str) -> None:
    lost = rf"gives none of 2 images a group.*without leading zeros \('{number}' for 00012\)"
    with pytest.raises(InputError, match=lost):
        grouped(tmp_path, f"image,group\n{number},L1\n", "a/00012.jpg", "a/00013.jpg")
    with pytest.raises(InputError, match=r"none of 1 images a group: it has no IDs$"):
        grouped(tmp_path, "image,group\n00012,NA\n", "a/00012.jpg")


def test_some_without_a_group_are_counted_by_split_and_named() -> None:
    images = [
        ("test", "test/a/1.jpg", "P"),
        ("train", "train/a/2.jpg", None),
        ("train", "train/a/3.jpg", "P"),
    ]
    assert coverage_text(images, ["1", "3"]) == (
        "images with a group: 2 of 3 (train 1 of 2, test 1 of 1); "
        "1 without, each its own group: train/a/2.jpg"
    )


def test_images_that_share_any_id_are_one_group(tmp_path: Path) -> None:
    # a and b share a lesion, b and c a patient; patient 7 and lesion 7 are not the same.
    rows = "a,L1,P1\nb,L1,P2\nc,L2,P2\nd,7,P3\ne,L4,7\nf,L5,\n"
    found = grouped(tmp_path, "isic_id,lesion_id,patient_id\n" + rows, *"abcdef")
    assert found == ["P1", "P1", "P1", "P3", "patient_id 7", "L5"]


@pytest.mark.parametrize("text", ["", "NA", "N/A", "nan", "NaN", "None", "null", "Unknown", "-", " "])
def test_a_missing_id_is_no_group(tmp_path: Path, text: str) -> None:
    table = f"image,lesion_id,patient_id\na,{text},{text}\nb,{text},P\nc,L,{text}\nd,{text},P\n"
    assert grouped(tmp_path, table, *"abcd") == [None, "P", "L", "P"]
