import hashlib
import os
from pathlib import Path

import pytest

from skinlesion_cli.data.file_hashes import (
    EDGE_BYTES,
    Contents,
    differences,
    hash_of,
    name_of,
    read_contents,
    summary_of,
    write_contents,
)


def contents_of(root: Path, **files: bytes) -> Contents:
    root.mkdir()
    found = {}
    for name, content in files.items():
        (root / name).write_bytes(content)
        with (root / name).open("rb") as file:
            # Wherever it was read before.
            file.read(7)
            found[name_of(Path(name))] = hash_of(file)
    return {"train": found}


def test_it_is_the_hash_of_the_bytes(tmp_path: Path) -> None:
    found = contents_of(tmp_path / "x", one=b"abc", two=b"")
    assert found["train"]["one"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found["train"]["two"] == hashlib.sha256().hexdigest()
    assert summary_of(found)["train"]["images"] == 2


@pytest.mark.parametrize("where", [0, EDGE_BYTES - 1, -1, -EDGE_BYTES])
def test_of_a_large_file_its_ends_and_its_size_count(tmp_path: Path, where: int) -> None:
    large = bytearray(os.urandom(3 * EDGE_BYTES))
    before = contents_of(tmp_path / "before", one=bytes(large))
    assert contents_of(tmp_path / "same", one=bytes(large)) == before
    assert contents_of(tmp_path / "longer", one=bytes(large[:EDGE_BYTES]) + bytes(large)) != before
    large[where] ^= 1
    assert contents_of(tmp_path / "after", one=bytes(large)) != before


def test_differences_are_counted_by_split(tmp_path: Path) -> None:
    before = {"train": {"a/1": "x", "a/2": "y", "a/3": "z"}, "val": {"a/1": "x"}}
    now = {"train": {"a/1": "x", "a/2": "other", "a/4": "z"}, "val": {"a/1": "x"}, "test": {"a/1": "x"}}
    assert differences(before, now) == "train: 1 added, 1 removed, 1 changed; test: 1 added"
    assert differences(before, before) == ""
    write_contents(tmp_path / "files.csv", now)
    assert read_contents(tmp_path / "files.csv") == now
    assert read_contents(tmp_path / "absent.csv") == {}
    assert summary_of(before)["val"] == summary_of(now)["val"]
    assert summary_of(before)["train"]["sha256"] != summary_of(now)["train"]["sha256"]


def test_a_name_that_is_not_utf8_can_be_listed(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.jpg")
    found = contents_of(tmp_path / "x", **{odd: b"abc"})
    write_contents(tmp_path / "files.csv", found)
    assert list(read_contents(tmp_path / "files.csv")["train"]) == ["caf\\xe9.jpg"]
