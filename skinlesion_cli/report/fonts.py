"""Fonts for names in any script: a glyph from any font on the machine, or an escape if none has it."""

from collections.abc import Iterable
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

from skinlesion_cli.common.errors import first_few
from skinlesion_cli.common.text import printable

FAMILY = "DejaVu Sans"
"""The default font of figures; matplotlib includes it."""
# Glyphs that stand for a whole block of characters, or are at code points of other characters.
_NOT_TEXT = ("Last Resort", "STIX", "DejaVu Math", "cm")


def use_known_glyphs(figure: Figure) -> None:
    """Give each text of a figure the fonts that have its characters; escape those that no font has."""
    # Tick labels are set again whenever they are drawn.
    for axis in (one for axes in figure.axes for one in (axes.xaxis, axes.yaxis)):
        names = [one.get_text() for one in axis.get_ticklabels()]
        if isinstance(axis.get_major_locator(), FixedLocator) and any(drawn(one) != one for one in names):
            axis.set_ticklabels([drawn(one) for one in names])
    for text in figure.findobj(Text):
        shown = text.get_text()
        if not shown.isascii():
            fonts = dict.fromkeys(filter(None, map(_family_with, shown)))
            text.set_fontfamily([FAMILY, *(one for one in fonts if one != FAMILY)])
            text.set_text(drawn(shown))


def drawn(text: str) -> str:
    """The text as figures show it, with an escape for each character that no font has."""
    return "".join(map(_drawn, text))


def undrawable(names: Iterable[str]) -> str:
    """A warning about characters of the names that no font on this machine has; empty if all can be drawn."""
    lacking = {char: name for name in names for char in printable(name) if not _is_drawable(char)}
    if not lacking:
        return ""
    one = next(iter(lacking))
    return (
        f"no font on this machine can draw {first_few(list(lacking))} in figures, where they are escaped "
        f"({_drawn(one)}): install one that can, such as a Noto font"
    )


def _drawn(character: str) -> str:
    return character if _is_drawable(character) else character.encode("unicode_escape").decode()


def _is_drawable(character: str) -> bool:
    return character == "\n" or _family_with(character) is not None


@cache
def _family_with(character: str) -> str | None:
    """The first family that has a glyph for the character."""
    point = ord(character)
    return next((name for name, path in _fonts() if point in _glyphs(path)), None)


@cache
def _fonts() -> list[tuple[str, str]]:
    """Family and file of an upright font of normal weight for each family, the usual one first."""

    def rank(font: FontEntry) -> tuple[bool, bool, bool, str]:
        plain = font.style == "normal" and font.weight in (400, "normal", "regular", "book")
        # Serif and monospaced fonts do not match the default font.
        return font.name != FAMILY, not plain, "Sans" not in font.name, font.name

    found: dict[str, str] = {}
    for font in sorted(fontManager.ttflist, key=rank):
        if not font.name.startswith(_NOT_TEXT):
            found.setdefault(font.name, font.fname)
    return list(found.items())


@cache
def _glyphs(path: str) -> frozenset[int]:
    try:
        return frozenset(get_font(path).get_charmap())
    # A bitmap font, such as a colour emoji font, or a file that no longer exists.
    except (OSError, RuntimeError):
        return frozenset()
