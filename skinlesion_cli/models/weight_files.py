"""Reading weights files, and the checks before anything in them is loaded.

A loader allocates whatever memory a file claims to need. So the claims are checked first, against the file
and against the limits: all entries stored uncompressed, none larger than the file, and undamaged; only plain
data in the pickle; a header of reasonable length. None of these checks unpickles anything.
"""

import io
import itertools
import pickletools
import re
import struct
import warnings
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import fault_of, refuse_faulty
from skinlesion_cli.common.limits import (
    MAX_DEPTH,
    MAX_INSTRUCTIONS,
    MAX_MODEL_BYTES,
    MAX_PLAIN_BYTES,
    size_text,
)
from skinlesion_cli.common.text import shortened

_DAMAGED = "it is damaged, truncated, or not a weights file"
_NOT_PLAIN = "it contains more than tensors and plain data; loading it could run code"
_SAVE_ALONE = (
    "; if you trust its author, save only the weights in Python: "
    "found = torch.load(FILE, weights_only=False), then torch.save(found['state_dict'], NEW), "
    "or found['model'] for fastai, or found.state_dict() for a whole model"
)
_COMPRESSED = "its entries are compressed, which torch never does, and could expand to any size"
_TOO_DEEP = f"its containers are nested more than {MAX_DEPTH} deep"
_END, _END_64, _DIRECTORY_TAIL = b"PK\x05\x06", b"PK\x06\x07", 22 + 65535
# torch's restricted unpickler calls these with any argument: `bytearray(10**11)` allocates that much memory,
# and some encodings take hours. Weights never need them.
_COSTLY_CALLS = ("bytearray", "encode")
_REFUSED = re.compile(r"Unsupported (?:global|class|operand): (?:GLOBAL )?([\w.]+)")
_LEGACY_PICKLES = 5
"""Pickles at the start of a file in the legacy format: magic numbers, the content, the tensors' names."""
_FILLING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD")


def read_tensors(path: Path) -> Any:
    """The content of a .pth or .safetensors file, read without ever unpickling an object.

    Raises:
        InputError: the file is missing, damaged or too large, or its pickle contains more than plain data.
    """
    refuse_faulty(path, fault_of_weights(path))
    try:
        with warnings.catch_warnings():
            # Deprecated storages, odd strings, guesses about the format: nothing a user could act on.
            warnings.simplefilter("ignore")
            if path.suffix == ".safetensors":
                content: Any = load_file(path)
            else:
                # The options that timm's training script saves, as data: no code of a Namespace runs.
                with torch.serialization.safe_globals([Namespace]):
                    content = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load and safetensors raise many types for damaged files: UnpicklingError, RuntimeError, EOFError,
    # KeyError, SafetensorError, MemoryError. All mean that the file cannot be loaded.
    except Exception as error:
        raise InputError(f"refused to load {path}: {_fault_of_loading(error)}") from None
    if fault := _fault_of_content(content):
        raise InputError(f"refused to load {path}: {fault}")
    return content


def _fault_of_loading(error: Exception) -> str:
    if named := _REFUSED.search(str(error)):
        return f"{_NOT_PLAIN}: it contains a {shortened(named[1])}{_SAVE_ALONE}"
    return _NOT_PLAIN + _SAVE_ALONE if "weights_only" in str(error) else _DAMAGED


def _fault_of_content(content: Any) -> str:
    """Why loaded content must not be used: not plain, nested too deep, or tensors that expand to more memory.

    A tensor of a few bytes can represent terabytes, by strides of 0 or as a sparse tensor.
    """
    size, level = 0, [content]
    for _ in range(MAX_DEPTH):
        for value in level:
            if isinstance(value, torch.Tensor):
                if value.layout != torch.strided or value.is_nested or value.is_quantized or value.is_meta:
                    return "it contains sparse, nested, quantized or empty tensors, which are not weights"
                size += value.numel() * value.element_size()
        if size > MAX_MODEL_BYTES:
            return f"its tensors are larger than {size_text(MAX_MODEL_BYTES)}"
        # Without recursion, which has its own limit, and never ends for a container that contains itself.
        level = [vars(value) if isinstance(value, Namespace) else value for value in level]
        inside = {id(value): value for value in level if isinstance(value, dict | list | tuple | set)}
        names = [name for value in inside.values() if isinstance(value, dict) for name in value]
        if not all(isinstance(name, str | int) for name in names):
            return "it contains keys that are not strings"
        items = (value.values() if isinstance(value, dict) else value for value in inside.values())
        level = list(itertools.chain.from_iterable(items))
        if not level:
            return ""
    return _TOO_DEEP


def fault_of_weights(path: Path) -> str:
    """Why a .pth or .safetensors file must not be loaded; an empty string if no check fails.

    torch itself ignores the checksums that it writes, and reads a damaged file's numbers without a warning.
    """
    if fault := fault_of(path, MAX_MODEL_BYTES):
        return fault
    try:
        with path.open("rb") as file:
            if path.suffix == ".safetensors":
                return _fault_of_safetensors(file, path.stat().st_size)
            start = file.read(4)
            if start == b"PK\x03\x04":
                return _fault_of_zip(file, path.stat().st_size)
            # Before torch 1.6: several pickles, then the tensors, without checksums. The other format that
            # torch knows is a tar archive, which it would unpack.
            if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
                file.seek(0)
                # A copy in memory: an instruction may ask the file for any number of bytes.
                return _fault_of_pickles(io.BytesIO(file.read(MAX_PLAIN_BYTES)))
            return _DAMAGED
    except OSError as error:
        return error.strerror or str(error)


def _fault_of_safetensors(file: BinaryIO, size: int) -> str:
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        return _DAMAGED
    return f"its header is larger than {size_text(MAX_PLAIN_BYTES)}" if length > MAX_PLAIN_BYTES else ""


def _fault_of_zip(file: BinaryIO, size: int) -> str:
    if _directory_size(file, size) > MAX_PLAIN_BYTES:
        return f"its directory is larger than {size_text(MAX_PLAIN_BYTES)}"
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if any(one.compress_type != zipfile.ZIP_STORED for one in entries):
                return _COMPRESSED
            if any(one.file_size != one.compress_size for one in entries):
                return _DAMAGED
            # Entries that overlap would each be loaded.
            if sum(one.file_size for one in entries) > size:
                return "its entries claim more bytes than the file has"
            for one in (one for one in entries if one.filename.endswith(".pkl")):
                if one.file_size > MAX_PLAIN_BYTES:
                    return f"its names and settings are larger than {size_text(MAX_PLAIN_BYTES)}"
                if fault := _fault_of_pickle(io.BytesIO(archive.read(one))):
                    return fault
            return _DAMAGED if archive.testzip() else ""
    # Names in an unknown encoding, an unknown version, encryption, a wrong checksum.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, struct.error):
        return _DAMAGED


def _directory_size(file: BinaryIO, size: int) -> int:
    """Size of a zip's directory in bytes, according to its end record; 0 without an end record."""
    file.seek(max(0, size - _DIRECTORY_TAIL))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        return 0
    (length,) = struct.unpack_from("<I", tail, at + 12)
    # A large archive has the length in a second record, and the offset of that record in a third.
    if at >= 20 and tail[at - 20 : at - 16] == _END_64:
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        file.seek(min(place, size))
        record = file.read(56)
        if len(record) == 56:
            (length,) = struct.unpack_from("<Q", record, 40)
    return int(length)


def _fault_of_pickles(file: io.BytesIO) -> str:
    for _ in range(_LEGACY_PICKLES):
        # A file with fewer pickles was not written by torch; torch reports that itself.
        if file.tell() == len(file.getbuffer()):
            return ""
        if fault := _fault_of_pickle(file):
            return fault
    return ""


def _fault_of_pickle(file: BinaryIO) -> str:
    """Why a pickle must not be loaded, from its instructions alone; `file` is left after its end."""
    stack = _Depths()
    try:
        for number, (code, argument, _) in enumerate(pickletools.genops(file)):
            if number == MAX_INSTRUCTIONS:
                return f"its names and settings take more than {MAX_INSTRUCTIONS:,} instructions"
            if code.name == "GLOBAL" and str(argument).endswith(_COSTLY_CALLS):
                return _NOT_PLAIN
            if stack.follow(code, argument) > 2 * MAX_DEPTH:
                return _TOO_DEEP
    # An unknown instruction, or a value missing from the stack.
    except (ValueError, LookupError):
        return _DAMAGED
    return ""


class _Depths:
    """How deeply each value on the stack of a pickle machine is nested.

    A tuple nested a hundred thousand deep overflows the stack of the process when it is hashed as a key.
    """

    def __init__(self) -> None:
        self._depths: list[int] = []
        self._marks: list[int] = []
        self._kept: dict[object, int] = {}

    def follow(self, code: pickletools.OpcodeInfo, argument: object) -> int:
        """Apply an instruction's effect on the stack; returns the depth of the value it makes."""
        if code.name.endswith("PUT"):
            self._kept[argument] = self._depths[-1]
        elif code.name.endswith("GET"):
            self._depths.append(self._kept[argument])
        elif code.name == "MARK":
            self._marks.append(len(self._depths))
        else:
            taken = self._taken(code)
            # A container that is filled remains on the stack; every other value is made around what it takes.
            depth = 1 + max(taken[code.name in _FILLING :], default=-1)
            if code.name in _FILLING:
                depth = max(depth, taken[0])
            self._depths += [depth] * len(code.stack_after)
            return depth
        return 0

    def _taken(self, code: pickletools.OpcodeInfo) -> list[int]:
        """Pop an instruction's arguments: a fixed number, or everything above the last mark."""
        if pickletools.markobject in code.stack_before:
            start = self._marks.pop() - code.stack_before.index(pickletools.markobject)
        else:
            start = len(self._depths) - len(code.stack_before)
        if start < 0:
            raise ValueError
        taken = self._depths[start:]
        del self._depths[start:]
        return taken
