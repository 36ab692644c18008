"""Checkpoints that ask for more than they hold, or for what no weights are."""

import io
import json
import pickle
import random
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from skinlesion_cli.common import limits
from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.models import weight_files
from skinlesion_cli.models.checkpoint import load_checkpoint, save_checkpoint
from skinlesion_cli.models.state_dicts import plain_state_dict
from skinlesion_cli.models.weight_files import fault_of_weights, read_tensors
from skinlesion_cli.saliency.explanation import explain_classes

ARCH = "mobilevitv2_050"
NAMED = {"arch": ARCH, "classes": ["a", "b", "c"]}


class Peak:
    """Memory that a block takes at its peak, in MB, above what there was before."""

    def __enter__(self) -> "Peak":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = self._highest()
        return self

    def __exit__(self, *error: object) -> None:
        self.grown = self._highest() - self._before

    @staticmethod
    def _highest() -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


@pytest.fixture
def small_memory() -> Peak:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not tell the peak of a process's memory")
    return Peak()


def archive(path: Path, plain: bytes, compression: int = zipfile.ZIP_STORED, **parts: bytes) -> Path:
    """A zip as torch writes it, with a pickle of one's own."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", plain)
        file.writestr("archive/version", b"3\n")
        for name, content in parts.items():
            file.writestr(f"archive/{name}", content)
    return path


class _Claim:
    """A tensor of so many numbers in a storage of as many, of which the file holds none."""

    def __init__(self, numbers: int):
        self.numbers = numbers

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (_Storage(), 0, (self.numbers,), (1,), False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


class _Storage:
    pass


def claiming(numbers: int) -> bytes:
    buffer = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            claimed = ("storage", torch.FloatStorage, "0", "cpu", numbers)
            return claimed if isinstance(value, _Storage) else None

    Pickler(buffer, protocol=2).dump({"w": _Claim(numbers)})
    return buffer.getvalue()


def nested(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def called(name: bytes, argument: bytes) -> bytes:
    return b"\x80\x02c" + name + b"\n" + argument + b"\x85R."


# 30 GB: what a machine may have, so that only the limit refuses it.
THIRTY_GB = b"\x8a\x05" + (30 * 10**9).to_bytes(5, "little")


@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        (claiming(10**13), "damaged"),
        (claiming(7 * 10**9), "damaged"),
        (called(b"__builtin__\nbytearray", THIRTY_GB), "more than tensors and plain data"),
        (called(b"torch\nTensor", THIRTY_GB), "(larger than 8 GiB|damaged)"),
        (called(b"_codecs\nencode", b"X\x01\0\0\0a"), "more than tensors and plain data"),
        (nested(10_000), "more than 32 deep"),
        (b"\x80\x02})" + b"\x85" * 1_000_000 + b"Ns.", "more than 32 deep"),
        (b"\x80\x02})" + b"q\0\x85" * 60_000 + b"Ns.", "more than 32 deep"),
        (b"\x80\x02})\x85Ns.", "keys that are not strings"),
        (b"\x80\x02]q\x00h\x00a.", "more than 32 deep"),
        (b"\x80\x02" + b"N0" * 1_000_001 + b"}.", "more than 2,000,000 instructions"),
        (b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.", "more than tensors and plain data"),
    ],
    ids=[
        "terabytes",
        "28 GB",
        "bytearray",
        "tensor of 30 GB",
        "encode",
        "deep",
        "deep key",
        "deep key kept",
        "odd key",
        "in itself",
        "long",
        "code",
    ],
)
def test_a_small_file_that_asks_for_much_is_refused(
    tmp_path: Path, small_memory: Peak, plain: bytes, reason: str
) -> None:
    path = archive(tmp_path / "c.pth", plain, **{"data/0": bytes(64)})
    with small_memory, pytest.raises(InputError, match=f"refused to load .*{reason}"):
        read_tensors(path)
    assert small_memory.grown < 100


def test_a_compressed_archive_is_refused_unread(tmp_path: Path, small_memory: Peak) -> None:
    path = archive(tmp_path / "c.pth", b"\x80\x02}.", zipfile.ZIP_DEFLATED, **{"data/0": bytes(100 << 20)})
    assert path.stat().st_size < 1 << 20
    with small_memory, pytest.raises(InputError, match="compressed"):
        read_tensors(path)
    assert small_memory.grown < 100


def test_a_part_that_claims_more_than_it_stores_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "c.pth", b"\x80\x02}.", **{"data/0": bytes(64)})
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 2**31)  # the uncompressed size in the directory
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_tensors(path)


def test_parts_that_lie_on_each_other_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "c.pth", b"\x80\x02}.", **{"data/0": bytes(4096)})
    with zipfile.ZipFile(path, "a") as file:
        for number in range(1, 50):
            again = zipfile.ZipInfo(f"archive/data/{number}")
            whole = file.getinfo("archive/data/0")
            again.header_offset, again.CRC = whole.header_offset, whole.CRC
            again.file_size = again.compress_size = 4096
            file.filelist.append(again)
        file._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="claim more bytes than the file has"):
        read_tensors(path)


def test_a_huge_directory_and_huge_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_files, "MAX_PLAIN_BYTES", 2000)
    many = archive(tmp_path / "many.pth", b"\x80\x02}.", **{f"data/{n}": b"" for n in range(60)})
    with pytest.raises(InputError, match="directory is larger than 1 KiB"):
        read_tensors(many)
    long = archive(tmp_path / "long.pth", b"\x80\x02}." + bytes(3000))
    with pytest.raises(InputError, match="names and settings are larger"):
        read_tensors(long)
    save_file({"w": torch.zeros(2)}, tmp_path / "w.safetensors", {"note": "x" * 3000})
    with pytest.raises(InputError, match="header is larger"):
        read_tensors(tmp_path / "w.safetensors")


def test_the_directory_of_torchs_own_files_is_found(tmp_path: Path) -> None:
    # They end in the 64-bit records, which a reader of the plain one alone would miss.
    torch.save({f"w{n}": torch.zeros(1) for n in range(300)}, tmp_path / "c.pth")
    with (tmp_path / "c.pth").open("rb") as file, zipfile.ZipFile(file) as names:
        counted = len(names.namelist())
        found = weight_files._directory_size(file, (tmp_path / "c.pth").stat().st_size)
    assert 46 * counted < found < 150 * counted


def test_a_larger_file_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    with path.open("wb") as file:
        file.truncate(limits.MAX_MODEL_BYTES + 1)  # a hole: it takes no disk
    with pytest.raises(InputError, match="larger than 8 GiB"):
        read_tensors(path)


def expanded() -> torch.Tensor:
    return torch.zeros(1).expand(10**6, 10**6)


def sparse() -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.zeros(2, 1), torch.ones(1), (10**6, 10**6), check_invariants=False)


@pytest.mark.parametrize("make", [expanded, sparse])
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_tensors_that_stand_for_more_than_they_hold_are_refused(
    tmp_path: Path, make: Callable[[], torch.Tensor]
) -> None:
    path = tmp_path / "c.pth"
    torch.save({"model": {"w": make()}, **NAMED}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match=r"larger than 8 GiB|which are not weights"):
        load_checkpoint(path)


def test_a_slice_of_a_storage_is_read(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"part": whole[1:, 1::2], "turned": whole.T}, tmp_path / "c.pth")
    read = read_tensors(tmp_path / "c.pth")
    assert read["part"].tolist() == [[5.0, 7.0], [9.0, 11.0]]
    assert read["turned"].tolist() == whole.T.tolist()


def test_the_old_tar_format_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    with tarfile.open(path, "w") as file:
        for name in ("storages", "tensors", "pickle"):
            file.addfile(tarfile.TarInfo(name))
    with pytest.raises(InputError, match="damaged"):
        read_tensors(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, legacy: bool) -> None:
    whole, cut = tmp_path / "c.pth", tmp_path / "cut.pth"
    torch.save({"model": {"w": torch.ones(100)}, **NAMED}, whole, _use_new_zipfile_serialization=not legacy)
    data = whole.read_bytes()
    assert read_tensors(whole)["model"]["w"].sum() == 100
    for length in range(0, len(data) - 1, len(data) // 25):
        cut.write_bytes(data[:length])
        with pytest.raises(InputError, match="refused to load"):
            read_tensors(cut)


def test_thirty_thousand_names_are_not_a_model(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save({f"layer.{n}": None for n in range(30_000)}, path)
    with pytest.raises(InputError, match="contains no model"):
        load_checkpoint(path, arch=ARCH, classes=["a"])


def test_torch_does_not_notice_a_flipped_byte_and_this_does(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.ones(1000)}, path)
    assert fault_of_weights(path) == ""
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(2).numpy().tobytes()) + 2] ^= 1
    path.write_bytes(content)
    assert not torch.equal(torch.load(path, weights_only=True)["weight"], torch.ones(1000))
    assert "damaged" in fault_of_weights(path)
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


def test_older_files_have_no_checksums_and_pass(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    old = io.BytesIO()
    torch.save({"weight": torch.ones(3)}, old, _use_new_zipfile_serialization=False)
    path.write_bytes(old.getvalue())
    assert fault_of_weights(path) == ""
    assert torch.equal(read_tensors(path)["weight"], torch.ones(3))


def test_prefixes_of_wrappers_are_removed() -> None:
    value = torch.zeros(1)
    state = {"model": {"_orig_mod.module.a.weight": value, "modules.b": value, "note": "text"}}
    assert set(plain_state_dict(state)) == {"a.weight", "modules.b"}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"\x93 no weights")
    with pytest.raises(InputError, match=r"refused to load .*damaged"):
        read_tensors(path)


def safetensors(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        safetensors({}, length=2**63),
        safetensors({}, length=10**11),
        safetensors({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        safetensors({"w": {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(4)),
        safetensors({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, bytes(4)),
        safetensors([[]]),
    ],
)
def test_a_safetensors_header_that_lies_is_refused(
    tmp_path: Path, small_memory: Peak, content: bytes
) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with small_memory, pytest.raises(InputError, match=r"refused to load .*damaged"):
        read_tensors(tmp_path / "w.safetensors")
    assert small_memory.grown < 100


def test_safetensors_metadata_of_endless_lists_and_digits_is_text(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    entries = {"arch": ARCH, "classes": "[" * 100_000, "epoch": "9" * 10_000}
    save_file({"head.fc.bias": torch.zeros(3)}, path, entries)
    with pytest.raises(InputError, match="give --classes"):
        load_checkpoint(path)
    assert load_checkpoint(path, classes=["a", "b", "c"]).epoch == 0


def test_a_small_file_that_names_a_huge_backbone_is_refused(tmp_path: Path, small_memory: Peak) -> None:
    path = tmp_path / "c.pth"
    state = {"head.weight": torch.zeros(3, 1536), "head.bias": torch.zeros(3)}
    torch.save({"model": state, "arch": "vit_giant_patch14_dinov2", "classes": ["a", "b", "c"]}, path)
    with (
        small_memory,
        pytest.raises(InputError, match=r"do not fit vit_giant_patch14_dinov2 .* tensors are missing"),
    ):
        load_checkpoint(path).build()
    assert small_memory.grown < 500  # its weights are 4.5 GB


def test_no_backbone_is_fetched_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    for arch in ("hf-hub:someone/model", "hf_hub:someone/model", "local-dir:/etc", "../../x"):
        torch.save({"model": {"w": torch.zeros(1)}, "arch": arch, "classes": ["a", "b"]}, path)
        with pytest.raises(InputError, match="unknown backbone"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": "abc"}, "give --classes"),
        ({"classes": {"a": 0}}, "give --classes"),
        ({"classes": ["a", "b", "a"]}, "invalid class names"),
        ({"classes": ["a", "b", ""]}, "invalid class names"),
        ({"classes": ["a", "b", ["c"]]}, "invalid class names"),
        ({"classes": ["a", "b", "c" * 1000]}, "invalid class names"),
        ({"classes": [f"c{n}" for n in range(100_000)]}, "invalid class names"),
        ({"arch": "x" * 100_000}, "unknown backbone"),
        ({"img_size": float("nan")}, "invalid preprocessing"),
        ({"img_size": 64.5}, "invalid preprocessing"),
        ({"img_size": 10**30}, "invalid preprocessing"),
        (
            {"preprocessing": {"mean": [float("nan")] * 3, "std": [1, 1, 1]}},
            "invalid preprocessing",
        ),
        (
            {"preprocessing": {"mean": [0, 0, 0], "std": [1, 1, float("nan")]}},
            "invalid preprocessing",
        ),
        ({"temperature": float("nan")}, "invalid temperature"),
        ({"temperature": 10**400}, "invalid temperature"),
        ({"novelty": {"mean": [], "directions": 0}}, "invalid out-of-distribution detector"),
        ({"novelty": "x"}, "invalid out-of-distribution detector"),
        ({"model": {"head.fc.bias": torch.tensor(1.0)}}, "has a head for 1 classes"),
    ],
)
def test_an_invalid_description_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = tmp_path / "c.pth"
    torch.save({"model": {"w": torch.zeros(1)}, **NAMED} | change, path)
    with pytest.raises(InputError, match=reason) as caught:
        load_checkpoint(path)
    assert len(str(caught.value)) < 1500


def test_invalid_informative_entries_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    odd = {"settings": {"loss_beta": [1], 3: 4, "epochs": 5}, "class_counts": {"a": -1}, "metrics": "x"}
    torch.save({"model": {"w": torch.zeros(1)}, **NAMED, **odd, "epoch": "last"}, path)
    loaded = load_checkpoint(path)
    assert (loaded.settings, loaded.class_counts, loaded.metrics, loaded.epoch) == ({"epochs": 5}, {}, {}, 0)


@pytest.mark.parametrize("look", [lambda p, i: p.predict(i), explain_classes], ids=["predict", "gradcam"])
def test_weights_that_give_nan_give_no_confidence(
    checkpoint: Path, picture: Path, tmp_path: Path, look: Callable[..., object]
) -> None:
    loaded = load_checkpoint(checkpoint)
    loaded.state["head.fc.bias"][0] = float("nan")
    save_checkpoint(tmp_path / "nan.pth", loaded)
    with pytest.raises(SkinLesionError, match=r"^the model's outputs are not finite \(NaN\)[^\n]*$"):
        look(load_predictor(tmp_path / "nan.pth"), picture)


def test_the_limits_leave_room_for_what_is_used() -> None:
    # Weights of a billion parameters, and the names of ten thousand tensors.
    assert limits.MAX_MODEL_BYTES >= 4 * 10**9
    assert limits.MAX_PLAIN_BYTES >= 10_000 * 200
    assert limits.MAX_DEPTH >= 10
