"""The output of commands as a page shows it, compared with what a command really prints.

Words must be equal. Numbers may differ: training on another processor gives slightly other scores.
"""

import itertools
import re
from collections.abc import Callable
from pathlib import Path

NUMBER = re.compile(r"(?<![\w.])[<>+−-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
# An interval, and what stands in its place for a proportion of 0 or 1; the bar of a probability.
VARIABLE = re.compile(r"\[[^\]]*\]|n=\d+|█+")


def blocks(page: Path, command: str) -> list[str]:
    """The blocks without a language that directly follow a block with this command."""
    found = re.findall(r"^```\w*\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [after for before, after in itertools.pairwise(found) if before.startswith(command)]


def assert_shown(block: str, output: str, most: float = 0.25) -> None:
    """Each line of the block is in the output, in this order; a line of … stands for any others."""
    printed = iter([_words(line) for line in output.splitlines()])
    for line in block.splitlines():
        if not line.strip() or line.strip() == "…":
            continue
        words, numbers = _words(line)
        for shown, values in printed:
            if shown == words and all(map(_close(most), numbers, values)):
                break
        else:
            raise AssertionError(f"not printed (or not in this order): {line}")


def _words(line: str) -> tuple[list[str], list[float]]:
    """A line as its words, with # for each number, and the numbers."""
    line = VARIABLE.sub(" ", line)
    numbers = [float(one.strip("<>+").replace("−", "-").replace(",", "")) for one in NUMBER.findall(line)]
    return NUMBER.sub("#", line).split(), numbers


def _close(most: float) -> Callable[[float, float], bool]:
    return lambda one, other: abs(one - other) <= most + most * abs(one)
