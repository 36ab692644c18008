"""Limits on untrusted input, other than the shape of an image (see `data.images`).

A small file can claim to hold terabytes, and a large one may be given by mistake. Whatever exceeds a limit is
refused before memory is allocated for it. docs/safety.md has the table.
"""

MAX_MODEL_BYTES = 8 << 30
"""A checkpoint or model file, and the tensors in it once decoded."""
MAX_PLAIN_BYTES = 32 << 20
"""Everything in a model file except tensors: names, settings, the directory, a header."""
MAX_INSTRUCTIONS = 2_000_000
"""Of the pickle in a .pth: enough for the names and shapes of fifty thousand tensors."""
MAX_DEPTH = 32
"""Nested containers in a model file."""
MAX_IMAGE_BYTES = 1 << 30
MAX_UPLOAD_BYTES = 64 << 20
"""Of a photograph that is sent to `serve`, which keeps it in memory."""
MAX_TABLE_BYTES = 256 << 20
MAX_TABLE_CELLS = 10_000_000
"""Of a CSV file: enough for half a million images with the probabilities of fourteen classes."""
MAX_LINE = 1 << 20
"""Characters in a line of a CSV file."""
MAX_TEXT_BYTES = 1 << 20
"""A config file, a .env, a list of classes."""
MAX_CLASSES = 1000
"""Of a model or a table; a confusion matrix has the square of it."""
MAX_NAME = 255
"""Characters in the name of a class, as in the name of a folder."""


def size_text(size: int) -> str:
    """A limit in bytes as people read it: `8 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size //= 1024
    return f"{size:,} {unit}"
