"""Checks of an .onnx file before the runtime opens it, without the package `onnx`.

The format is protocol buffers: a message is a sequence of fields, each a number, a wire type and a value.
Only the fields that lead to tensors and to graphs inside graphs are followed; the rest is skipped.
Field numbers: onnx.proto3, IR version 13 (they never change).
"""

import mmap
from pathlib import Path

from skinlesion_cli.common.files import fault_of
from skinlesion_cli.common.limits import MAX_DEPTH, MAX_MODEL_BYTES, MAX_PLAIN_BYTES, size_text

DAMAGED = "it is damaged, truncated, or not an ONNX model"
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}
"""Wire types: a number, a length and as many bytes, and those of a fixed number of bytes."""

# Message type → field number → type of the message inside.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 14: "property", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "subgraph", 10: "tensor", 11: "subgraph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external", 14: "location"},
}
_REFUSED = {
    "external": "its weights are in other files; export it again as one file",
    "subgraph": "it contains loops or branches, which no export of this tool has",
}


def fault_of_onnx(path: Path) -> str:
    """Why an .onnx file must not be opened; an empty string if it may be.

    Refused are tensors in other files, because the runtime would read any file named there, and graphs inside
    graphs (loops, branches), because they may never end.
    """
    if fault := fault_of(path, MAX_MODEL_BYTES):
        return fault
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _fault(content)
    # An empty file, an unterminated number, a length beyond the end of the file.
    except (ValueError, IndexError):
        return DAMAGED
    except OSError as error:
        return error.strerror or str(error)


def _fault(content: mmap.mmap) -> str:
    waiting, properties = [("model", 0, len(content), 0)], 0
    while waiting:
        kind, at, end, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return DAMAGED
        while at < end:
            key, at = _varint(content, at)
            start, at, value = _value(content, at, key & 7)
            if at > end:
                raise ValueError
            inside = _INSIDE[kind].get(key >> 3, "")
            # Location 0 means: in this file.
            if inside in _REFUSED or (inside == "location" and value != 0):
                return _REFUSED.get(inside, _REFUSED["external"])
            if inside == "property":
                properties += at - start
                if properties > MAX_PLAIN_BYTES:
                    return f"its metadata is larger than {size_text(MAX_PLAIN_BYTES)}"
            elif inside in _INSIDE:
                waiting.append((inside, start, at, depth + 1))
    return ""


def _value(content: mmap.mmap, at: int, kind: int) -> tuple[int, int, int]:
    """Start and end of a field's value, and the value itself if it is a number."""
    if kind == _VARINT:
        value, end = _varint(content, at)
        return at, end, value
    if kind == _BYTES:
        length, start = _varint(content, at)
        return start, start + length, 0
    if kind not in _FIXED:
        raise ValueError
    return at, at + _FIXED[kind], 0


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        byte = content[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError
