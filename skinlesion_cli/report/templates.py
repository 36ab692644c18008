"""HTML and Markdown templates: whatever is not markup is escaped, so that no name can become code."""

import base64
import hashlib
import html
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from skinlesion_cli.common.text import visible
from skinlesion_cli.common.version import __version__
from skinlesion_cli.report.content import Chart
from skinlesion_cli.report.drawing import inline_svg
from skinlesion_cli.report.figures import number, percent, split_title, whole_percent
from skinlesion_cli.report.forest import named
from skinlesion_cli.report.plots import SMALL, WIDE, single

FOLDER = Path(__file__).with_name("templates")


def render_html(template: str, title: str, **values: object) -> str:
    """A self-contained HTML page, from a template that extends `frame.html`; pictures are data URIs."""
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # Nothing may be loaded, and only this script may run, whatever a name on the page contains.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    frame = {"policy": Markup(policy), "style": Markup(style), "script": Markup(script)}
    return _environment(_html).get_template(template).render(frame | values, title=title, version=__version__)


def render_markdown(template: str, **values: object) -> str:
    """A Markdown document from a template."""
    return _environment(_markdown).get_template(template).render(values, version=__version__)


@cache
def _environment(finalize: Any) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=finalize,
    )
    environment.globals.update(kind_of=lambda block: type(block).__name__, svg=_svg)
    environment.filters.update(
        count=number,
        percent=percent,
        percentage=lambda share: f"{100 * min(max(share, 0.0), 1.0):.1f}%",
        short="{:g}".format,
        split_title=split_title,
        whole_percent=whole_percent,
    )
    return environment


def _html(value: object) -> object:
    if isinstance(value, Markup):
        return Markup(visible(value))
    return "" if value is None else visible(str(value))


def _markdown(value: object) -> object:
    """Text escaped for Markdown: none of its characters is markup."""
    if isinstance(value, Markup):
        return value
    one_line = " ".join(visible("" if value is None else str(value)).split())
    marked = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", one_line)
    return Markup(html.escape(marked, quote=False))


def _svg(chart: Chart, small: bool) -> Markup:
    drawn = named(chart.plot, chart.height) if chart.height else single(chart.plot, SMALL if small else WIDE)
    return inline_svg(drawn, chart.title)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
