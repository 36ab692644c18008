"""The captions of heat maps: folded lines, and the measured faithfulness."""

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skinlesion_cli.common.text import printable
from skinlesion_cli.report.drawing import without_formula

if TYPE_CHECKING:
    from skinlesion_cli.saliency.explanation import Explanation

MOST_LINES = 5


def folded(text: str, width: int, *, most: int = MOST_LINES, keep_end: bool = False) -> list[str]:
    """Lines of at most `width` characters, broken after spaces, hyphens, dots, slashes and underscores.

    A longer word is cut, and marked with "…". If there are more than `most` lines, the last are left out, or
    the first if the end is to be kept, as for a file name.
    """
    text = printable(text)
    if any(unicodedata.east_asian_width(char) in "WF" for char in text):
        width //= 2
    lines = [""]
    for word in re.findall(r"[^\s_./-]*[\s_./-]?", text):
        if len(lines[-1]) + len(word.rstrip()) > width:
            lines.append("")
        rest = word
        while len(rest.rstrip()) > width:
            lines[-1:] = [rest[: width - 1] + "…", ""]
            rest = rest[width - 1 :]
        lines[-1] += rest
    lines = [line.strip() for line in lines if line.strip()]
    if len(lines) <= most:
        return lines
    if keep_end:
        return ["…" + lines[-most][-width + 1 :], *lines[len(lines) - most + 1 :]]
    return [*lines[: most - 1], lines[most - 1].rstrip("…")[: width - 1] + "…"]


def verdict(one: "Explanation", true: str | None) -> str:
    """Whether the prediction is right; empty if the true class is unknown."""
    if true is None:
        return ""
    prediction = "prediction" if one.predicted == one.label else f"predicted {one.predicted},"
    return f"{prediction} {'right' if one.predicted == true else 'wrong'}"


def true_class(true: str | None) -> str:
    """The true class; empty if it is unknown."""
    return "" if true is None else f"true class: {true}"


def text_of(lines: Sequence[str]) -> str:
    """Lines prepared for matplotlib."""
    return without_formula("\n".join(lines))


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """What `summarise` found, as lines of text."""
    lines = [f"{summary['n']} maps, means with 95% intervals ({summary['ci95_method']})"]
    for name, better in (("deletion", "lower"), ("insertion", "higher")):
        own, random = _with_interval(summary[name]), _with_interval(summary[f"random_{name}"])
        won = _with_interval(summary[f"{name}_beats_random"], ".0%")
        lines.append(
            f"{name} {own}, random {random}, {better} is better; better than random in {won} of maps"
        )
    return lines


def _with_interval(figure: dict[str, Any], form: str = ".3f") -> str:
    mean, ends = format(figure["mean"], form), [format(end, form) for end in figure["ci95"] or ()]
    return f"{mean} [{', '.join(ends)}]" if ends else mean
