"""Untrusted text (file names, class names, cells), made safe to show on one line."""

import difflib
import itertools
import re
import unicodedata
from collections.abc import Iterable

MOST = 60
"""Characters of untrusted text in a message."""
NAMES_COMPARED = 5000
"""How many known names a mistyped one is compared with."""


def printable(text: str) -> str:
    r"""The text with control characters escaped, and bytes that are not UTF-8 as `\udcff`."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown.encode("utf-8", "backslashreplace").decode()


# Control characters except tab and newline, marks that change the direction of writing, and surrogates.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text for a page of several lines: like `printable`, but newlines and all spaces stay."""
    return _INVISIBLE.sub(lambda found: printable(found[0]), text)


def shortened(text: str, most: int = MOST) -> str:
    """The beginning of a long text, or a short one unchanged."""
    return text if len(text) <= most else text[: most - 1] + "…"


def quoted(text: str) -> str:
    """The text in quotes, escaped and shortened, for a message."""
    return repr(shortened(text))


def folded(name: str) -> str:
    """The name for comparisons that ignore its Unicode form and upper and lower case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the known names nearest to a mistyped one, or an empty string."""
    # The time grows with the length and the number of the names.
    if len(name) > MOST:
        return ""
    near = difflib.get_close_matches(name, list(itertools.islice(known, NAMES_COMPARED)), n=3, cutoff=0.55)
    return f"; did you mean {' or '.join(near)}?" if near else ""
