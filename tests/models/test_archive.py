import io
import random
import zipfile
from pathlib import Path

import pytest
import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.models.archive import require_intact
from skinlesion_cli.models.backbone import read_tensors


def test_torch_does_not_notice_a_flipped_byte_and_this_does(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.ones(1000)}, path)
    require_intact(path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(2).numpy().tobytes()) + 2] ^= 1
    path.write_bytes(content)
    assert not torch.equal(torch.load(path, weights_only=True)["weight"], torch.ones(1000))
    with pytest.raises(ValueError, match=r"checksum of weights/data/0 does not fit"):
        require_intact(path)
    with pytest.raises(InputError, match="damaged"):
        read_tensors(path)


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    expected = {"weight": torch.arange(50.0), "epoch": 3}
    torch.save(expected, path)
    whole, chance, refused = path.read_bytes(), random.Random(0), 0
    for position in chance.sample(range(len(whole)), 400):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            read = read_tensors(path)
        except InputError:
            refused += 1
            continue
        # It hit what nobody reads: padding, a date.
        assert read["epoch"] == 3
        assert torch.equal(read["weight"], expected["weight"])
    assert refused > 150


def test_what_grows_when_it_is_read_is_refused_before_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10_000_000))
    with pytest.raises(ValueError, match="larger than the file"):
        require_intact(path)


def test_older_files_have_no_checksums_and_pass(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    old = io.BytesIO()
    torch.save({"weight": torch.ones(3)}, old, _use_new_zipfile_serialization=False)
    path.write_bytes(old.getvalue())
    require_intact(path)
    assert torch.equal(read_tensors(path)["weight"], torch.ones(3))
