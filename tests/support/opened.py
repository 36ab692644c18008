"""Which files Python opens: seen by an audit hook, which cannot be removed and is made once."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_watched: dict[str, "Counter[Path]"] = {}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watched and isinstance(arguments[0], str | bytes | os.PathLike):
        name = os.fsdecode(arguments[0])
        for folder, found in _watched.items():
            # Not the folders, which are opened to be listed.
            if name.startswith(folder) and Path(name).suffix:
                found[Path(name)] += 1


sys.addaudithook(_hook)


@contextmanager
def opened_below(folder: Path) -> Iterator["Counter[Path]"]:
    """How often this process opens each file below a folder, inside the block."""
    found: Counter[Path] = Counter()
    _watched[str(folder)] = found
    try:
        yield found
    finally:
        del _watched[str(folder)]
