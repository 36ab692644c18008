"""Damage: bytes made of valid files by edits, and bytes of no file at all. The same seed, the same damage."""

import random
from collections.abc import Callable, Sequence

EDITS_A_FILE = (1, 1, 1, 2, 3, 8)
INTERESTING = (
    *(bytes([value]) for value in (0, 1, 0x7F, 0x80, 0xFF)),
    *(
        value.to_bytes(4, order)
        for value in (0, 1, 65535, 2**31 - 1, 2**32 - 1)
        for order in ("big", "little")
    ),
    *(value.to_bytes(8, "little") for value in (2**31, 2**40, 2**63 - 1, 2**64 - 1)),
)

Edit = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


def _place(data: bytes, draw: random.Random) -> tuple[int, int]:
    """A chunk: many short, few long; the head of a file, where its sizes stand, more often than the rest."""
    length = min(len(data), 2 ** draw.randrange(0, 10))
    reach = len(data) - length
    start = draw.randint(0, min(reach, 128)) if draw.random() < 0.4 else draw.randint(0, reach)
    return start, start + length


def flip(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Change bits of one byte."""
    if not data:
        return data
    at = _place(data, draw)[0]
    return data[:at] + bytes([data[min(at, len(data) - 1)] ^ draw.randint(1, 255)]) + data[at + 1 :]


def overwrite(data: bytes, draw: random.Random, tokens: Sequence[bytes]) -> bytes:
    """Put a number at the edge of its range, or a word of the format, over what is there."""
    token, at = draw.choice([*INTERESTING, *tokens]), _place(data, draw)[0]
    return data[:at] + token + data[at + len(token) :]


def insert(data: bytes, draw: random.Random, tokens: Sequence[bytes]) -> bytes:
    """Put something between two bytes."""
    token = draw.choice([*INTERESTING, *tokens, draw.randbytes(draw.randint(1, 64))])
    at = _place(data, draw)[0]
    return data[:at] + token + data[at:]


def truncate(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Cut the end off."""
    return data[: draw.randint(0, len(data))]


def remove(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Take a chunk out."""
    start, end = _place(data, draw)
    return data[:start] + data[end:]


def repeat(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Write a chunk twice, or many times."""
    start, end = _place(data, draw)
    return data[:end] + data[start:end] * draw.choice((1, 1, 2, 100)) + data[end:]


def move(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Copy a chunk over another."""
    start, end = _place(data, draw)
    at = _place(data, draw)[0]
    return data[:at] + data[start:end] + data[at + end - start :]


EDITS: tuple[Edit, ...] = (flip, flip, overwrite, overwrite, insert, truncate, remove, repeat, move)


def damaged(seeds: Sequence[bytes], tokens: Sequence[bytes], draw: random.Random) -> bytes:
    """One input: mostly a valid file with a few edits; else the parts of two, or random bytes."""
    kind = draw.random()
    if kind < 0.05:
        words = [*tokens, *INTERESTING, draw.randbytes(draw.randint(0, 300))]
        return b"".join(draw.choice(words) for _ in range(draw.randint(0, 20)))
    data = draw.choice(seeds)
    if kind < 0.15:
        other = draw.choice(seeds)
        data = data[: draw.randint(0, len(data))] + other[draw.randint(0, len(other)) :]
    for _ in range(draw.choice(EDITS_A_FILE)):
        data = draw.choice(EDITS)(data, draw, tokens)
    return data
