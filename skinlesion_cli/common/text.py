"""Untrusted text (file names, class names, cells), made safe to show on one line."""

import codecs
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
    """The text for several lines of a page: like `printable`, but newlines and all spaces are kept."""
    return _INVISIBLE.sub(lambda found: printable(found[0]), text)


# ASCII replacements of the non-ASCII characters that this program writes, for streams that lack them.
_SIGNS = {
    "−": "-",
    "–": "-",
    "…": "...",
    "×": "x",
    "█": "#",
    "≥": ">=",
    "≤": "<=",
    "·": "*",
    "²": "^2",
    "→": "->",
}
REPLACE = "skinlesion.ascii"
"""Name of the error handler that replaces what an encoding lacks by ASCII."""


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_ascii_of, error.object[error.start : error.end])), error.end


def _ascii_of(char: str) -> str:
    # Without its accent, if it has one: ć is decomposed into c and a mark.
    plain = _SIGNS.get(char) or unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return plain or char.encode("ascii", "backslashreplace").decode()


codecs.register_error(REPLACE, _in_ascii)


def in_encoding(text: str, encoding: str) -> str:
    """The text with what the encoding lacks replaced by an ASCII sign or letter if possible, else escaped."""
    return text.encode(encoding, REPLACE).decode(encoding)


def shortened(text: str, most: int = MOST) -> str:
    """The beginning of a long text, or a short one unchanged."""
    return text if len(text) <= most else text[: most - 1] + "…"


def quoted(text: str) -> str:
    """The text in quotes, escaped and shortened, for a message."""
    return repr(shortened(text))


def folded(name: str) -> str:
    """The name for comparisons that ignore its case and its Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the known names nearest to a mistyped one, or an empty string."""
    # The time grows with the length and the number of the names.
    if len(name) > MOST:
        return ""
    near = difflib.get_close_matches(name, list(itertools.islice(known, NAMES_COMPARED)), n=3, cutoff=0.55)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def probability_text(probability: float) -> str:
    """A probability in percent; one that is not exactly 0 or 1 is never shown as if it were."""
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return "<0.1%" if 0 < probability < 0.0005 else f"{probability:.1%}"
