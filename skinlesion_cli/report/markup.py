"""HTML and SVG from values: whatever is not markup already is escaped, so no name can become code."""

from collections.abc import Iterable
from html import escape

from skinlesion_cli.common.text import visible

_VOID = {"br", "col", "img", "meta"}


class Markup(str):
    """Text that is markup already. Only this module and what calls it makes it."""

    __slots__ = ()


Content = object
"""A `Markup` is taken as it is; None and an empty text are nothing; all else is escaped."""


def tag(name: str, /, *children: Content, **attributes: object) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: what it holds.
        attributes: the last underscore of `class_` is dropped and the others become hyphens; None and False
            leave an attribute out, True gives it no value.
    """
    written = "".join(
        _attribute(key.removesuffix("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Content) -> Markup:
    """Several pieces, one after the other."""
    return Markup("".join(_markup(child) for child in children))


def lines(children: Iterable[Content]) -> Markup:
    """Several pieces, each on a line of its own."""
    return Markup("\n".join(text for text in map(_markup, children) if text))


def _markup(child: Content) -> Markup:
    if isinstance(child, Markup):
        return child
    return Markup("" if child is None else escape(visible(str(child))))


def _attribute(name: str, value: object) -> str:
    return f" {name}" if value is True else f' {name}="{escape(visible(str(value)))}"'
