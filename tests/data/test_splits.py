from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Event, Note, Warned
from skinlesion_cli.data.find_images import find_images
from skinlesion_cli.data.splits import named_as, read_split, read_splits, require_classes


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_a_split_lists_its_images_class_by_class(tmp_path: Path) -> None:
    touch(tmp_path, "train/b/2.JPG", "train/b/1.png", "train/a/x/deep.jpeg", "train/a/notes.txt")
    touch(tmp_path, "train/.cache/1.jpg", "train/b/.hidden.jpg")
    split = read_split(tmp_path, "train")
    assert split.classes == ("a", "b")
    assert [file.as_posix() for file in split.files] == ["a/x/deep.jpeg", "b/1.png", "b/2.JPG"]
    assert split.labels == (0, 1, 1)
    assert split.counts == {"a": 1, "b": 2}
    assert split.left_out == 1


def test_hidden_and_system_files_are_skipped_and_counted(tmp_path: Path) -> None:
    folders = ("@eaDir", "@EADIR", "#recycle", "$RECYCLE.BIN", ".thumbnails", "__MACOSX")
    touch(
        tmp_path,
        *(f"train/a/{name}/1.jpg" for name in folders),
        "train/@eaDir/1.jpg",
        "train/a/x/@eaDir/1.jpg",
    )
    touch(tmp_path, "train/a/._1.jpg", "train/a/Thumbs.db", "train/a/x/1.jpg", "train/b/1.jpg")
    notes: list[Event] = []
    split = read_split(tmp_path, "train", notes.append)
    assert (split.counts, split.left_out) == ({"a": 1, "b": 1}, 0)
    said = "10 hidden or system files and folders are skipped"
    assert notes == [Note(f"{tmp_path / 'train'}: {said}")]
    assert find_images([str(tmp_path / "train")], notes.append) == [
        tmp_path / "train" / name for name in ("a/x/1.jpg", "b/1.jpg")
    ]
    assert notes[1] == notes[0]
    assert len(find_images([f"{tmp_path}/**/*.jpg"])) == 2


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/2.jpg", "elsewhere/deep/3.jpg", "train/a/1.jpg", "train/b/1.jpg")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "elsewhere")
    for name in ("site", "site again"):
        (tmp_path / "train/a" / name).symlink_to(tmp_path / "elsewhere")
    files = [file.as_posix() for file in read_split(tmp_path, "train").files]
    assert sorted(files) == ["a/1.jpg", "a/site/2.jpg", "a/site/deep/3.jpg", "b/1.jpg"]


def test_links_to_folders_cannot_trap_it(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.jpg")
    (tmp_path / "train/a/loop").symlink_to(tmp_path / "train")
    assert len(read_split(tmp_path, "train").files) == 1


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "no train/ folder"),
        (["train/1.jpg"], "no class folders"),
        (["train/a/1.jpg"], "no val/ folder"),
        (["train/a/1.jpg", "val/a/1.jpg", "val/b/1.jpg"], "only in .*val: b"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"], "missing there: b"),
        (["train/a/1.jpg", "train/b/notes.txt", "val/a/1.jpg"], "b contains no images"),
        (["train/a/1.jpg", "val/a/1.jpg", "test/c/1.jpg"], "only in .*test: c"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, files: list[str], reason: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=reason):
        read_splits(tmp_path, ["train", "val"], optional=["test"])


def test_a_class_may_be_without_images_where_a_model_is_scored(tmp_path: Path) -> None:
    touch(tmp_path, "test/b/1.jpg", "test/a/notes.txt")
    split = read_split(tmp_path, "test", complete=False)
    assert split.counts == {"a": 0, "b": 1}
    require_classes(split, ["a", "b", "c"], "the checkpoint", complete=False)
    with pytest.raises(InputError, match=r"only in .*test: a\)"):
        require_classes(split, ["b", "c"], "the checkpoint", complete=False)
    touch(tmp_path, "val/b/notes.txt")
    with pytest.raises(InputError, match="val contains no images"):
        read_split(tmp_path, "val", complete=False)


@pytest.mark.parametrize(
    ("names", "differ"),
    [
        (("NEVUS", "Nevus"), "'NEVUS' and 'Nevus' differ only in their case"),
        (("n\u00e9vus", "ne\u0301vus"), r"differ only in their Unicode form \('ne\\u0301vus', 'n\\xe9vus'\)"),
        (("N\u00c9VUS", "ne\u0301vus"), "differ only in their case"),
    ],
)
def test_classes_that_differ_only_in_how_they_are_written_are_refused(
    tmp_path: Path, names: tuple[str, str], differ: str
) -> None:
    touch(tmp_path, f"both/{names[0]}/1.jpg", f"both/{names[1]}/1.jpg", "both/b/1.jpg")
    with pytest.raises(InputError, match=differ):
        read_split(tmp_path, "both")
    touch(tmp_path, f"train/{names[0]}/1.jpg", "train/b/1.jpg", f"val/{names[1]}/1.jpg", "val/b/1.jpg")
    with pytest.raises(InputError, match=differ):
        read_splits(tmp_path, ["train", "val"])


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["train/a/1.jpg"], r"train has only one class, 'a'; at least two are needed$"),
        (
            ["train/images/a/1.jpg", "train/images/b/1.jpg"],
            r"move the folders in .*train/images \(a, b\) up one",
        ),
        (
            ["data/train/a/1.jpg", "data/train/b/1.jpg"],
            r"no train/ folder; .*/data has one: use that folder$",
        ),
        (["a/1.jpg", "b/1.jpg"], "are these the classes\\? skinlesion data split .* --out"),
    ],
)
def test_a_wrapper_folder_is_not_a_data_set_of_one_class(
    tmp_path: Path, files: list[str], reason: str
) -> None:
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=reason):
        read_splits(tmp_path, ["train"])


def test_what_is_left_out_is_counted_by_kind(tmp_path: Path) -> None:
    touch(tmp_path, "test/a/1.jpe", "test/a/2.JFIF", "test/a/x/3.jxl", "test/a/4.JXL", "test/b/5.jpg")
    touch(tmp_path, "test/b/6.nef", "test/b/notes.txt", "test/b/README", "test/loose.jpg", "test/list.csv")
    events: list[Event] = []
    split = read_split(tmp_path, "test", events.append)
    assert split.counts == {"a": 2, "b": 1}
    assert events == [
        Warned(
            f"{tmp_path}/test: 5 files are left out: .jxl (2), .nef (1), no suffix (1), .txt (1); "
            "convert images to JPEG or PNG to use them"
        ),
        Warned(f"{tmp_path}/test, beside the class folders: 2 files are left out: .csv (1), .jpg (1)"),
    ]
    del events[:]
    found = find_images([f"{tmp_path}/test/b", f"{tmp_path}/test/b/*"], events.append)
    assert [path.name for path in found] == ["5.jpg"] * 2
    texts = [event.text for event in events if isinstance(event, Warned)]
    assert [text.split(": ", 1)[1][:54] for text in texts] == [
        "3 files are left out: .nef (1), no suffix (1), .txt (1)"[:54]
    ] * 2
    touch(tmp_path, "one/a/1.jxl", "one/b/1.jp2")
    for where in (f"{tmp_path}/one", f"{tmp_path}/one/a/*"):
        with pytest.raises(InputError, match=r"no image in .*, only files that are not read: \.jxl \(1\)"):
            find_images([where])
    with pytest.raises(
        InputError, match=r"a contains no images, only files that are not read: \.jxl \(1\); add"
    ):
        read_split(tmp_path, "one")


def test_a_class_in_another_unicode_form_is_the_models(tmp_path: Path) -> None:
    touch(tmp_path, "test/ne\u0301vus/1.jpg", "test/Melanoma/1.jpg")
    split = named_as(read_split(tmp_path, "test"), ["Melanoma", "n\u00e9vus"])
    require_classes(split, ["Melanoma", "n\u00e9vus"], "the checkpoint")
    assert split.classes == ("Melanoma", "n\u00e9vus")
    assert all(path.is_file() for path in split.paths)
    with pytest.raises(InputError, match="differ only in their case"):
        require_classes(named_as(split, ["melanoma"]), ["melanoma"], "the checkpoint", complete=False)


def test_files_folders_and_globs_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "sub/c.png", "sub/notes.txt", "odd[1].jpg", "plain")
    monkeypatch.chdir(tmp_path)
    assert [str(path) for path in find_images(["plain", "sub", "?.jpg", "odd[1].jpg"])] == [
        "plain",
        "sub/c.png",
        "a.jpg",
        "b.jpg",
        "odd[1].jpg",
    ]
    for nothing in ("absent.jpg", "*.bmp"):
        with pytest.raises(InputError, match="there is no file"):
            find_images([nothing])
