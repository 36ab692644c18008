from contextlib import suppress
from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.files import ensure_writable_folder, write_text, written_folder, written_whole


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "earlier")
    with suppress(ZeroDivisionError), written_whole(path) as part:
        part.write_text("half", encoding="utf-8")
        raise ZeroDivisionError
    assert path.read_text(encoding="utf-8") == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_error_becomes_one_line(tmp_path: Path) -> None:
    with pytest.raises(SkinLesionError, match=r"cannot write .*No such file"):
        write_text(tmp_path / "absent" / "file.txt", "text")


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write to"):
        ensure_writable_folder(tmp_path / "file" / "below")


def test_a_folder_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "m.mlpackage"
    for text in ("one", "two"):
        with written_folder(target) as part:
            (part / "inside").mkdir(parents=True)
            (part / "inside" / text).write_text(text, encoding="utf-8")
    with suppress(ZeroDivisionError), written_folder(target) as part:
        part.mkdir()
        raise ZeroDivisionError
    with pytest.raises(SkinLesionError, match=r"cannot write .*m\.mlpackage"), written_folder(target):
        pass
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        *("m.mlpackage", "m.mlpackage/inside", "m.mlpackage/inside/two"),
    ]
