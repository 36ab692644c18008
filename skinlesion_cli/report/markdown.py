"""Markdown from values."""

import re
from collections.abc import Iterable, Sequence

from skinlesion_cli.common.text import visible


def plain(text: str) -> str:
    """Text from outside as Markdown shows it: no character of it is a mark or a tag."""
    one_line = " ".join(visible(str(text)).split())
    marked = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", one_line)
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def section(title: str, *paragraphs: str) -> str:
    """A heading and what stands below it; empty paragraphs are left out."""
    return "\n\n".join([f"## {title}", *(one for one in paragraphs if one)])


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"* {item}" for item in items)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose columns but the first stand to the right."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rule, *rows))
