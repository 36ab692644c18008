"""The frame of every page: one file that fetches nothing, in the reader's light or dark."""

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

from skinlesion_cli.common.files import write_text
from skinlesion_cli.common.version import __version__
from skinlesion_cli.report.markup import Content, Markup, join, lines, tag


def write_document(path: Path, title: str, *body: Content) -> None:
    """Write a page, whole or not at all.

    Args:
        path: the file.
        title: of the browser's tab.
        body: what is on it; pictures are data URIs.
    """
    write_text(path, document(title, *body))


def document(title: str, *body: Content) -> str:
    """A whole HTML page with the style and the script of all pages inside."""
    style, script = _packaged("page.css"), _packaged("page.js")
    # Nothing may be fetched, and only this very script may run, whatever a name on the page tries.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = lines(
        [
            tag("meta", charset="utf-8"),
            # The hashes' quotes need no escaping inside double ones, and a policy is read as it stands.
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", name="generator", content=f"skinlesion {__version__}"),
            tag("title", title),
            tag("style", Markup(style)),
        ]
    )
    whole = join(tag("head", head), tag("body", lines([*body, tag("script", Markup(script))])))
    return "<!doctype html>\n" + tag("html", whole, lang="en") + "\n"


@cache
def _packaged(name: str) -> str:
    return resources.files("skinlesion_cli.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
