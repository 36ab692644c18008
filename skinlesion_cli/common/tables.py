"""Results as tables: HTML for a notebook, and data frames for pandas users.

The HTML has no scripts, loads nothing, and escapes all text.
"""

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any

from skinlesion_cli.common.extras import require_modules
from skinlesion_cli.common.text import visible


class Html(str):
    """Text that is markup already, and is not escaped again."""


class Tabular:
    """A result with rows: a table in a notebook, and a data frame on request."""

    def rows(self) -> list[dict[str, Any]]:
        """The result as flat dicts with the same keys."""
        raise NotImplementedError

    def to_frame(self) -> Any:
        """`rows()` as a `pandas.DataFrame`.

        Raises:
            InputError: pandas is not installed.
        """
        require_modules("pandas", "for a data frame")
        import pandas

        return pandas.DataFrame(self.rows())

    def _repr_html_(self) -> str:
        return html_table(self.rows())


def html_table(rows: Iterable[Mapping[str, Any]], caption: str = "") -> Html:
    """An HTML table; the keys of the first row are the column headers."""
    found = list(rows)
    heads = "".join(f"<th>{html_text(name)}</th>" for name in found[0]) if found else ""
    body = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in found)
    title = f"<caption>{html_text(caption)}</caption>" if caption else ""
    return Html(f"<table>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>")


def html_bar(share: float) -> Html:
    """A bar whose length is a share in [0, 1]."""
    return Html(
        '<div style="width:12em;text-align:left"><div style="height:.7em;background:#0072b2;'
        f'width:{100 * min(max(share, 0), 1):.1f}%"></div></div>'
    )


def html_picture(uri: str, name: str) -> Html:
    """An embedded image: its data URI, and its name as alternative text."""
    return Html(f'<img src="{html_text(uri)}" alt="{html_text(name)}">')


def html_text(value: object) -> str:
    """A value as escaped text, with control characters shown instead of obeyed."""
    return value if isinstance(value, Html) else html.escape(visible(str(value)))


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        value = "–"
    elif isinstance(value, float):
        value = f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"
    return f"<td>{html_text(value)}</td>"
