"""Text from outside (file names, class names, cells), made fit to be shown in one line."""

import difflib
import itertools
import re
from collections.abc import Iterable

MOST = 60
"""Characters of a foreign text inside a message."""
NAMES_COMPARED = 5000
"""How many known names a mistyped one is compared with."""


def printable(text: str) -> str:
    r"""The text with control characters shown instead of obeyed, and bytes that are no UTF-8 as `\udcff`."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown.encode("utf-8", "backslashreplace").decode()


# Control characters but for tab and new line, marks that turn the direction of writing, and surrogates.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text for a page of several lines: as `printable`, but line ends and all spaces stay."""
    return _INVISIBLE.sub(lambda found: printable(found[0]), text)


def shortened(text: str, most: int = MOST) -> str:
    """The beginning of a long text; a short one as it is."""
    return text if len(text) <= most else text[: most - 1] + "…"


def quoted(text: str) -> str:
    """The text as Python writes it, shortened: for a message."""
    return repr(shortened(text))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known names nearest to a mistyped one, or an empty text."""
    # Its time grows with the length and the number of the names.
    if len(name) > MOST:
        return ""
    near = difflib.get_close_matches(name, list(itertools.islice(known, NAMES_COMPARED)), n=3, cutoff=0.55)
    return f"; did you mean {' or '.join(near)}?" if near else ""
