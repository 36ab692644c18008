"""Inputs for fuzzing: mutated valid files, and random bytes. The same seed gives the same inputs."""

import random
from collections.abc import Callable, Sequence

EDITS_PER_FILE = (1, 1, 1, 2, 3, 8)
BOUNDARY_VALUES = (
    *(bytes([value]) for value in (0, 1, 0x7F, 0x80, 0xFF)),
    *(
        value.to_bytes(4, order)
        for value in (0, 1, 65535, 2**31 - 1, 2**32 - 1)
        for order in ("big", "little")
    ),
    *(value.to_bytes(8, "little") for value in (2**31, 2**40, 2**63 - 1, 2**64 - 1)),
)

Edit = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


def _chunk(data: bytes, draw: random.Random) -> tuple[int, int]:
    """Choose a chunk: mostly a short one, and more often in the header, where a format stores its sizes."""
    length = min(len(data), 2 ** draw.randrange(0, 10))
    reach = len(data) - length
    start = draw.randint(0, min(reach, 128)) if draw.random() < 0.4 else draw.randint(0, reach)
    return start, start + length


def flip(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Flip random bits of one byte."""
    if not data:
        return data
    at = _chunk(data, draw)[0]
    return data[:at] + bytes([data[min(at, len(data) - 1)] ^ draw.randint(1, 255)]) + data[at + 1 :]


def overwrite(data: bytes, draw: random.Random, tokens: Sequence[bytes]) -> bytes:
    """Overwrite bytes with a boundary value or a token of the format."""
    token, at = draw.choice([*BOUNDARY_VALUES, *tokens]), _chunk(data, draw)[0]
    return data[:at] + token + data[at + len(token) :]


def insert(data: bytes, draw: random.Random, tokens: Sequence[bytes]) -> bytes:
    """Insert a boundary value, a token of the format or random bytes."""
    token = draw.choice([*BOUNDARY_VALUES, *tokens, draw.randbytes(draw.randint(1, 64))])
    at = _chunk(data, draw)[0]
    return data[:at] + token + data[at:]


def truncate(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Cut off the end."""
    return data[: draw.randint(0, len(data))]


def remove(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Remove a chunk."""
    start, end = _chunk(data, draw)
    return data[:start] + data[end:]


def repeat(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Repeat a chunk once or many times."""
    start, end = _chunk(data, draw)
    return data[:end] + data[start:end] * draw.choice((1, 1, 2, 100)) + data[end:]


def copy(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Overwrite one chunk with a copy of another."""
    start, end = _chunk(data, draw)
    at = _chunk(data, draw)[0]
    return data[:at] + data[start:end] + data[at + end - start :]


EDITS: tuple[Edit, ...] = (flip, flip, overwrite, overwrite, insert, truncate, remove, repeat, copy)


def damaged(seeds: Sequence[bytes], tokens: Sequence[bytes], draw: random.Random) -> bytes:
    """One input: mostly a valid file, or a splice of two, with a few edits; sometimes only random pieces."""
    kind = draw.random()
    if kind < 0.05:
        pieces = [*tokens, *BOUNDARY_VALUES, draw.randbytes(draw.randint(0, 300))]
        return b"".join(draw.choice(pieces) for _ in range(draw.randint(0, 20)))
    data = draw.choice(seeds)
    if kind < 0.15:
        other = draw.choice(seeds)
        data = data[: draw.randint(0, len(data))] + other[draw.randint(0, len(other)) :]
    for _ in range(draw.choice(EDITS_PER_FILE)):
        data = draw.choice(EDITS)(data, draw, tokens)
    return data
