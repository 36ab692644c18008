"""How much a file from elsewhere may ask for: the limits on input, but a photograph's shape (`images`).

A small file can claim terabytes, and a large one may be sent by mistake. What exceeds a limit is refused
before memory is taken for it. docs/safety.md has the table.
"""

MAX_MODEL_BYTES = 8 << 30
"""A checkpoint's or a model's file, and the tensors in it laid out in full."""
MAX_PLAIN_BYTES = 32 << 20
"""The part of a model's file that is no tensors: names, settings, the directory, a header."""
MAX_INSTRUCTIONS = 2_000_000
"""Of the pickle in a .pth: names and shapes of fifty thousand tensors."""
MAX_DEPTH = 32
"""Containers inside containers, in a model's file."""
MAX_IMAGE_BYTES = 1 << 30
MAX_TABLE_BYTES = 256 << 20
MAX_TABLE_CELLS = 10_000_000
"""Of a CSV file: half a million images with the probabilities of fourteen classes."""
MAX_LINE = 1 << 20
"""Characters of a line of a CSV file."""
MAX_TEXT_BYTES = 1 << 20
"""A config file, a .env, a list of classes."""
MAX_CLASSES = 1000
"""Of a model or a table; confusion matrices grow with its square."""
MAX_NAME = 255
"""Characters of a class's name: what a folder's name can have."""


def size_text(size: int) -> str:
    """A number of bytes as people read it: `8 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size //= 1024
    return f"{size:,} {unit}"
