"""How figures are saved: as a file of any format, or as SVG inside a page.

Figures are made without pyplot, whose global state would keep every one of them in memory. Colours are from
the Okabe–Ito set, which colour-blind readers can tell apart.
"""

import io
import re
import textwrap
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from skinlesion_cli.common.files import FIGURE_MARK, written_whole
from skinlesion_cli.common.text import printable, shortened
from skinlesion_cli.report.fonts import use_known_glyphs

BLUE, ORANGE, GREEN, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#DDE1E6"
DPI = 150
MAX_NAME = 48
"""Maximum length of a class name in a figure; a longer one would leave no room for the data."""
MAX_WRAPPED_NAME = 120
"""Characters of a name that may take several lines."""

_VARIABLES = {BLUE: "blue", ORANGE: "orange", GREEN: "green", GREY: "grey", PALE: "line", "#FFFFFF": "paper"}
"""CSS variables of page.css that replace the colours, so that a figure follows light and dark mode."""


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, completely or not at all; the suffix determines the format.

    Characters that no font on this machine has are escaped (`fonts.undrawable` returns a warning about them).
    The same figure gives the same bytes.
    """
    use_known_glyphs(figure)
    # In a PDF, text that can be searched and edited.
    with written_whole(path) as part, rc_context({"svg.hashsalt": "skinlesion", "pdf.fonttype": 42}):
        # Independent of the backend that a notebook has set.
        FigureCanvasAgg(figure)
        figure.savefig(part, dpi=DPI, bbox_inches="tight", pad_inches=0.15, **_marked(path))


def _marked(path: Path) -> dict[str, Any]:
    """What makes matplotlib write `FIGURE_MARK` into the file, and no date."""
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        return {"pil_kwargs": {"comment": FIGURE_MARK}}
    undated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(suffix, {})
    return {"metadata": {"Software" if suffix == ".png" else "Creator": FIGURE_MARK, **undated}}


def inline_svg(figure: Figure, title: str) -> Markup:
    """A figure as an SVG element for a page: no style, no fixed colour, no link; text remains text.

    The title is for screen readers. Unique on the page, it makes the IDs in the SVG unique and reproducible.
    """
    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title}), warnings.catch_warnings():
        # The text remains text, which the reader's fonts draw.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        unset = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=unset)
    root = ElementTree.fromstring(buffer.getvalue())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    _drop(root, {"metadata", "style", "clipPath"})
    for element in root.iter():
        element.attrib = _attributes(element)
        element.text = element.text if element.tag == "text" else None
        element.tail = None
    heading = ElementTree.Element("title")
    heading.text = title
    root.insert(0, heading)
    root.attrib = {"class": "chart", "role": "img", "aria-label": title, "viewBox": root.attrib["viewBox"]}
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _drop(parent: ElementTree.Element, names: set[str]) -> None:
    """Remove elements by name, and groups that are empty without them."""
    for child in list(parent):
        _drop(child, names)
        invisible = child.tag == "path" and child.get("style") == "fill: none"
        if child.tag in names or invisible or (child.tag in {"g", "defs"} and not len(child)):
            parent.remove(child)


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    """Attributes without namespaces, with the style's properties among them and short numbers."""
    kept = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    style = kept.pop("style", "")
    # Everything lies within its axes, so nothing needs to be clipped; groups are not referred to.
    for name in ("clip-path", "id") if element.tag in {"g", "text", "svg"} else ("clip-path",):
        kept.pop(name, None)
    if kept.get("transform", "").startswith("rotate(-0"):
        del kept["transform"]
    for declaration in filter(None, style.split("; ")):
        name, value = declaration.split(": ", 1)
        colour = _VARIABLES.get(value.upper())
        if name not in {"font-family", "stroke-dashoffset"}:
            kept[name] = f"var(--{colour})" if colour else value.removesuffix("px")
    shorten = {"d", "x", "y", "transform"} & kept.keys()
    return kept | {name: _short(kept[name]) for name in shorten}


def _short(text: str) -> str:
    """Coordinates with two decimals, without the line breaks that matplotlib puts between them."""
    text = re.sub(r"-?\d+\.\d+", lambda one: f"{float(one[0]):.2f}".rstrip("0").rstrip("."), text)
    return re.sub(r"\s*([A-Zz])\s*", r"\1", text).strip()


def plain(name: str) -> str:
    """A class name prepared for matplotlib: one short line, and no formula."""
    return without_formula(shortened(printable(name), MAX_NAME))


def wrapped(name: str, width: int, after: str = "") -> str:
    """A name and the text after it, in lines of at most `width` characters; a very long name is cut."""
    return "\n".join(textwrap.wrap(shortened(printable(name), MAX_WRAPPED_NAME) + after, width))


def without_formula(text: str) -> str:
    """Text, of one line or several, prepared for matplotlib: a dollar sign would start a formula."""
    return text.replace("$", r"\$")
