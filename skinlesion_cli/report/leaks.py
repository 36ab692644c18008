"""The page of an audit: one HTML file that needs no network, leaked pairs side by side."""

import base64
import io
from html import escape as html_escape
from pathlib import Path

from skinlesion_cli.core.files import write_text
from skinlesion_cli.core.images import read_image
from skinlesion_cli.core.text import printable
from skinlesion_cli.data.check import Audit, PairFound
from skinlesion_cli.data.inventory import ImageRecord

THUMBNAIL = 240
PAIRS_SHOWN = 200
KINDS = {"bytes": "same bytes", "pixels": "same pixels", "near": "near copy"}

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.verdict { font-size: 1.15rem; border-left: .3rem solid var(--line); padding-left: .8rem; }
.leak { border-color: var(--bad); }
table { border-collapse: collapse; } td, th { padding: .2rem .7rem; border-bottom: 1px solid var(--line); }
th { text-align: left; } td + td, th + th { text-align: right; }
.wide { overflow-x: auto; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; padding: .8rem 0; }
.pair { border-bottom: 1px solid var(--line); break-inside: avoid; }
.pair p { grid-column: 1 / -1; margin: 0; } .warn { color: var(--bad); font-weight: 600; }
figure { margin: 0; } img { max-width: 100%; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; }
"""


def write_page(audit: Audit, path: Path) -> None:
    """Write the page, whole or not at all; it holds small copies of the images of the pairs it shows."""
    pairs = sorted(audit.pairs, key=_worst_first)
    shown = pairs[:PAIRS_SHOWN]
    more = f"<p>The {len(shown)} worst of {len(pairs)} pairs.</p>" if len(shown) < len(pairs) else ""
    body = [
        f"<h1>Audit of {escape(str(audit.inventory.root))}</h1>",
        f'<p class="verdict{" leak" if audit.leaking else ""}">{escape(audit.verdict())}</p>',
        "<h2>Images</h2>",
        _counts(audit),
        _list("Unreadable files", list(audit.inventory.unreadable.values())),
        _list("Remarks", audit.inventory.remarks),
        _list("Files that are no images", audit.inventory.not_images),
        _list("Groups on more than one side", audit.groups_across_splits),
        f"<h2>Files that show one photograph: {len(pairs)} pairs</h2>" if pairs else "",
        more,
        *(_pair(audit, pair) for pair in shown),
    ]
    title = "Audit of a data set"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    content = "\n".join(part for part in body if part)
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>\n{content}\n'
        "</body></html>\n",
    )


def escape(text: str) -> str:
    """Text from outside as HTML that shows it: no tag, no attribute, no control character."""
    return html_escape(printable(text))


def _worst_first(pair: PairFound) -> tuple[bool, bool]:
    return (not pair.across_splits, pair.same_class)


def _counts(audit: Audit) -> str:
    counts = audit.inventory.counts()
    labels = sorted({label for of_split in counts.values() for label in of_split})
    header = "".join(f"<th>{escape(split)}</th>" for split in counts)
    rows = "".join(
        f"<tr><td>{escape(label)}</td>"
        + "".join(f"<td>{of_split.get(label, 0)}</td>" for of_split in counts.values())
        + "</tr>"
        for label in labels
    )
    return f'<div class="wide"><table><tr><th>Class</th>{header}</tr>{rows}</table></div>'


def _list(title: str, items: tuple[str, ...] | list[str]) -> str:
    if not items:
        return ""
    return (
        f"<h2>{title}: {len(items)}</h2><ul>"
        + "".join(f"<li>{escape(item)}</li>" for item in items)
        + "</ul>"
    )


def _pair(audit: Audit, pair: PairFound) -> str:
    faults = [] if pair.same_class else ["different classes"]
    faults += ["across splits"] if pair.across_splits else []
    text = f'{KINDS[pair.kind]}<span class="warn"> {escape(", ".join(faults))}</span>'
    figures = "".join(_figure(audit, image) for image in (pair.a, pair.b))
    return f'<div class="pair"><p>{text}</p>{figures}</div>'


def _figure(audit: Audit, image: ImageRecord) -> str:
    picture = read_image(audit.inventory.root / image.file)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    name = escape(image.file)
    picture_tag = f'<img alt="{name}" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{picture_tag}<figcaption>{name}</figcaption></figure>"
