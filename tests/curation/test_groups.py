from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.curation.groups import groups_of, read_groups
from skinlesion_cli.data.manifest import ManifestRow, Origins, origins_in, origins_of, write_manifest


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
        ("image,group\na.jpg,1\na.png,2\n", "'a.png' is in the groups '1' and '2'"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_groups(path)


def test_a_splits_origins_come_from_the_manifest(tmp_path: Path) -> None:
    files = [Path("x/a.jpg"), Path("y/b.jpg")]
    assert origins_of(tmp_path, "test", files) == Origins(None, None)
    rows = [ManifestRow("test", "x", "a.jpg", "L1", "s"), ManifestRow("test", "y", "b.jpg", "L2", "t")]
    path = write_manifest(tmp_path, [*rows, ManifestRow("train", "x", "a.jpg", "L9", "u")])
    assert origins_of(tmp_path, "test", files) == Origins(["L1", "L2"], ["s", "t"])
    # With an image that is not in it, groups are of no use; the sources of the others are.
    assert origins_of(tmp_path, "test", [*files, Path("x/new.jpg")]) == Origins(None, ["s", "t", ""])
    path.write_text("split,class,file,group\ntest,x,a.jpg,L1\ntest,y,b.jpg,L2\n", encoding="utf-8")
    assert origins_of(tmp_path, "test", files) == Origins(["L1", "L2"], None)
    path.write_text("split,file\n", encoding="utf-8")
    with pytest.raises(InputError, match="needs the columns"):
        origins_of(tmp_path, "test", files)


def test_predictions_name_their_images_as_the_manifest_does(tmp_path: Path) -> None:
    rows = [ManifestRow(split, "x", "a.jpg", f"L-{split}", "s") for split in ("train", "test")]
    path = write_manifest(tmp_path, rows)
    assert origins_in(path, "test", ["x/a.jpg"]) == Origins(["L-test"], ["s"])
    assert origins_in(path, "train", ["train/x/a.jpg"]) == Origins(["L-train"], ["s"])
    for image in ("a.jpg", "train/x/a.jpg"):
        with pytest.raises(InputError, match=f"has no image {image} in the split test; name another"):
            origins_in(path, "test", [image])
