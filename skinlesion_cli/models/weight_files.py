"""What a file of weights may hold, looked at before any of it is loaded.

A loader takes memory for what a file claims. So the claims are held against the file and the limits first: a
directory of entries that are stored as they are, none larger than the file; a pickle of plain data alone; a
header of a sane length. Only the standard library: nothing is unpickled here.
"""

import io
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from skinlesion_cli.common.files import fault_of
from skinlesion_cli.common.limits import (
    MAX_DEPTH,
    MAX_INSTRUCTIONS,
    MAX_MODEL_BYTES,
    MAX_PLAIN_BYTES,
    size_text,
)

DAMAGED = "it is damaged, cut short, or no file of weights"
NOT_PLAIN = "it holds more than tensors and plain data, and running it could do anything"
_COMPRESSED = "its parts are compressed, as torch never writes them, and may be of any size"
_END, _END_64, _DIRECTORY_TAIL = b"PK\x05\x06", b"PK\x06\x07", 22 + 65535
# torch's restricted unpickler calls these with any argument: `bytearray(10**11)` takes the memory, and some
# encodings take hours. No weights need them.
_COSTLY_CALLS = ("bytearray", "encode")
_OLD_PICKLES = 5
"""How many stand at the beginning of a file of the old kind: marks, the content, the tensors' names."""
_FILLING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD")


def fault_of_weights(path: Path) -> str:
    """Why a .pth or .safetensors file is not even to be tried; an empty text where nothing speaks against it.

    Args:
        path: the file; its suffix says which kind it is.
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
            # Before torch 1.6: a row of pickles, then the tensors. Of other kinds torch knows a tar archive,
            # which it would unpack.
            if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
                file.seek(0)
                # A copy, since a file is asked for as many bytes as an instruction claims.
                plain = io.BytesIO(file.read(MAX_PLAIN_BYTES))
                return _fault_of_pickles(plain)
            return DAMAGED
    except OSError as error:
        return error.strerror or str(error)


def _fault_of_safetensors(file: BinaryIO, size: int) -> str:
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        return DAMAGED
    if length > MAX_PLAIN_BYTES:
        return f"its header is larger than {size_text(MAX_PLAIN_BYTES)}"
    return ""


def _fault_of_zip(file: BinaryIO, size: int) -> str:
    if _directory_size(file, size) > MAX_PLAIN_BYTES:
        return f"its directory is larger than {size_text(MAX_PLAIN_BYTES)}"
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if any(one.compress_type != zipfile.ZIP_STORED for one in entries):
                return _COMPRESSED
            if any(one.file_size != one.compress_size for one in entries):
                return DAMAGED
            # Entries that lie on each other would be loaded once each.
            if sum(one.file_size for one in entries) > size:
                return "its parts claim more than the file holds"
            for one in entries:
                if not one.filename.endswith(".pkl"):
                    continue
                if one.file_size > MAX_PLAIN_BYTES:
                    return f"its names and settings are larger than {size_text(MAX_PLAIN_BYTES)}"
                if fault := _fault_of_pickle(io.BytesIO(archive.read(one))):
                    return fault
    # Names in an unknown encoding, an unknown version, encryption, a wrong checksum.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, struct.error):
        return DAMAGED
    return ""


def _directory_size(file: BinaryIO, size: int) -> int:
    """Bytes of a zip's directory, as its end record has it; 0 where there is none."""
    file.seek(max(0, size - _DIRECTORY_TAIL))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        return 0
    (length,) = struct.unpack_from("<I", tail, at + 12)
    # The length of a large archive stands in a second record, whose place a third one tells.
    if at >= 20 and tail[at - 20 : at - 16] == _END_64:
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        file.seek(min(place, size))
        record = file.read(56)
        if len(record) == 56:
            (length,) = struct.unpack_from("<Q", record, 40)
    return int(length)


def _fault_of_pickles(file: io.BytesIO) -> str:
    for _ in range(_OLD_PICKLES):
        # One alone is no file of torch's, which torch says itself, and why.
        if file.tell() == len(file.getbuffer()):
            return ""
        if fault := _fault_of_pickle(file):
            return fault
    return ""


def _fault_of_pickle(file: BinaryIO) -> str:
    """Why a pickle is not to be loaded, from its instructions alone; `file` is left behind its end."""
    stack = _Depths()
    try:
        for number, (code, argument, _) in enumerate(pickletools.genops(file)):
            if number == MAX_INSTRUCTIONS:
                return f"its names and settings take more than {MAX_INSTRUCTIONS:,} instructions"
            if code.name == "GLOBAL" and str(argument).endswith(_COSTLY_CALLS):
                return NOT_PLAIN
            if stack.follow(code, argument) > 2 * MAX_DEPTH:
                return f"it holds containers more than {MAX_DEPTH} deep"
    # No instruction, or no such value on the stack.
    except (ValueError, LookupError):
        return DAMAGED
    return ""


class _Depths:
    """How deep each value on the stack of a pickle's machine is.

    A tuple in a tuple, a hundred thousand times, overruns the stack of the process itself when the tuple is
    taken for a key.
    """

    def __init__(self) -> None:
        self._depths: list[int] = []
        self._marks: list[int] = []
        self._kept: dict[object, int] = {}

    def follow(self, code: pickletools.OpcodeInfo, argument: object) -> int:
        """Do what an instruction does to the stack; returns the depth of what it makes."""
        if code.name.endswith("PUT"):
            self._kept[argument] = self._depths[-1]
        elif code.name.endswith("GET"):
            self._depths.append(self._kept[argument])
        elif code.name == "MARK":
            self._marks.append(len(self._depths))
        else:
            taken = self._taken(code)
            # What is filled stays the container that it was; all else is made anew around what it takes.
            depth = 1 + max(taken[code.name in _FILLING :], default=-1)
            if code.name in _FILLING:
                depth = max(depth, taken[0])
            self._depths += [depth] * len(code.stack_after)
            return depth
        return 0

    def _taken(self, code: pickletools.OpcodeInfo) -> list[int]:
        """Take from the stack what an instruction takes: some values, or all above the last mark."""
        if pickletools.markobject in code.stack_before:
            start = self._marks.pop() - code.stack_before.index(pickletools.markobject)
        else:
            start = len(self._depths) - len(code.stack_before)
        if start < 0:
            raise ValueError
        taken = self._depths[start:]
        del self._depths[start:]
        return taken
