"""Text from outside (file names, class names, cells), made fit to be shown in one line."""

MOST = 60
"""Characters of a foreign text inside a message."""


def printable(text: str) -> str:
    r"""The text with control characters shown instead of obeyed, and bytes that are no UTF-8 as `\udcff`."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown.encode("utf-8", "backslashreplace").decode()


def shortened(text: str, most: int = MOST) -> str:
    """The beginning of a long text; a short one as it is."""
    return text if len(text) <= most else text[: most - 1] + "…"


def quoted(text: str) -> str:
    """The text as Python writes it, shortened: for a message."""
    return repr(shortened(text))
