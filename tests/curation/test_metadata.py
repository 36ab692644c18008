from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.curation.metadata import joined_columns, truth_of

HAM = (
    "lesion_id,image_id,dx,age,sex,localization\nL1,ISIC_1,nv,80.0,male,scalp\nL2,ISIC_2,mel,,unknown,face\n"
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_joined_by_the_images_name_with_or_without_a_suffix(tmp_path: Path) -> None:
    ham = write(tmp_path / "ham.csv", HAM)
    files = ["nv/ISIC_1.jpg", "mel/isic_2.JPG", "mel/other.jpg"]
    cells, remarks = joined_columns(["sex", "site", "age"], files, "test", [ham])
    assert cells == {"sex": ["male", "", ""], "site": ["scalp", "face", ""], "age": ["80.0", "", ""]}
    without, unknown = "1 of 3 images have no row in ham.csv", "they are the subgroup unknown"
    assert remarks == [
        f"--by sex: {without}, 1 have no value there; {unknown}",
        f"--by site: {without}; {unknown}",
        f"--by age: {without}, 1 have no value there; {unknown}",
    ]
    isic = write(tmp_path / "isic.csv", "isic_id,age_approx,fitzpatrick_skin_type\nISIC_1.jpg,35,II\n")
    cells, _ = joined_columns(["age", "tone", "site"], files, "test", [isic, ham])
    # Each column is of the first table that has it.
    assert (cells["age"], cells["tone"], cells["site"][0]) == (["35", "", ""], ["II", "", ""], "scalp")


def test_a_manifest_gives_its_columns_for_the_images_of_the_split(tmp_path: Path) -> None:
    manifest = write(
        tmp_path / "manifest.csv",
        "split,class,file,group,source,sex\ntrain,a,1.jpg,L1,s,male\ntest,a,1.jpg,L2,s,female\n"
        "test,b,1.jpg,L3,s,male\n",
    )
    cells, remarks = joined_columns(["sex"], ["a/1.jpg", "b/1.jpg"], "test", [manifest])
    assert (cells, remarks) == ({"sex": ["female", "male"]}, [])


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        (
            "image,sex\nx,male\n",
            "sex",
            r"no row for any of the 1 images: it names x, the images are a/1\.jpg",
        ),
        ("image,gender\n1,male\n", "ses", r"--by ses: there is no such column.*has image, gender"),
        ("image,sexx\n1,male\n", "sex", r"there is no such column; did you mean sexx\?"),
        ("name,sex\n1,male\n", "sex", "needs a column for the file"),
        ("image,sex\n1,male\n1,female\n", "sex", "'1' has two values of sex, 'male' and 'female'"),
    ],
)
def test_a_table_that_gives_nothing_is_refused(tmp_path: Path, text: str, column: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        joined_columns([column], ["a/1.jpg"], "test", [write(tmp_path / "m.csv", text)])
    with pytest.raises(InputError, match=r"no manifest\.csv; give a table of the images with --metadata"):
        joined_columns(["sex"], ["a/1.jpg"], "test", [])


def test_true_classes_are_read_as_people_and_isic_write_them(tmp_path: Path) -> None:
    one_hot = write(
        tmp_path / "truth.csv",
        "image,MEL,NV,score_weight\nISIC_1,1.0,0.0,0\nISIC_2,0.0,1.0,1\nISIC_9,0,1,1\n",
    )
    labels, remarks = truth_of(one_hot, ["ISIC_2.jpg", "x/ISIC_1.png", "ISIC_3"])
    assert labels == ["NV", "MEL", None]
    assert remarks == [f"{one_hot}: 1 of 3 images have no row and are left out, 1 of 3 rows are of no image"]
    named = write(tmp_path / "labels.csv", "file,label\n1.jpg,wart\n2.jpg,\n")
    with pytest.raises(InputError, match=r"line 3: '2\.jpg' has no class"):
        truth_of(named, ["1"])
    with pytest.raises(InputError, match="line 2: one of a, b must be 1; 2 are"):
        truth_of(write(tmp_path / "two.csv", "image,a,b\n1,1,1\n"), ["1"])
    with pytest.raises(InputError, match="needs the columns file,label"):
        truth_of(write(tmp_path / "none.csv", "image,a,b\n1,0.3,0.7\n"), ["1"])
