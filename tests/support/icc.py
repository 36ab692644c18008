"""Colour profiles (ICC version 2, three primaries and a gamma), and what their colours are in sRGB."""

import struct

import numpy as np

# The primaries' XYZ as columns, adapted to D50, and the gamma.
SPACES = {
    "Display P3": (
        [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]],
        2.2,
    ),
    "Adobe RGB": (
        [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]],
        2.2,
    ),
    "ProPhoto": ([[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]], 1.8),
}
SRGB = [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]


def profile_of(name: str) -> bytes:
    """The bytes of a profile of one of `SPACES`."""
    primaries, gamma = SPACES[name]
    columns = np.array(primaries).T
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    label = name.encode() + b"\0"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(label)) + label + bytes(78)}
    tags |= {b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz((0.9642, 1.0, 0.8249))}
    for letter, column in zip(b"rgb", columns, strict=True):
        tags |= {bytes([letter]) + b"XYZ": _xyz(column), bytes([letter]) + b"TRC": curve}
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = bytes(8) + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3I", *(round(65536 * value) for value in (0.9642, 1.0, 0.8249)))
    content = head + bytes(128 - len(head)) + table + body
    return struct.pack(">I", len(content)) + content[4:]


def in_srgb(pixels: np.ndarray, name: str) -> np.ndarray:
    """The sRGB values of 8-bit pixels (…, 3) in one of `SPACES`, clipped to what sRGB can show."""
    primaries, gamma = SPACES[name]
    linear = (pixels / 255) ** gamma @ np.array(primaries).T @ np.linalg.inv(np.array(SRGB)).T
    linear = linear.clip(0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * shown


def _xyz(values: object) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * float(value)) for value in values))
