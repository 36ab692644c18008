"""The page of an audit: one HTML file that needs no network, leaked pairs side by side."""

from collections.abc import Sequence
from pathlib import Path

from skinlesion_cli.curation.audit import Audit, ImageRecord, PairFound
from skinlesion_cli.data.images import read_image
from skinlesion_cli.report.document import write_document
from skinlesion_cli.report.markup import Content, Markup, lines, tag
from skinlesion_cli.report.tables import Cell, Column, table
from skinlesion_cli.report.thumbnails import data_uri

PAIRS_SHOWN = 200
KINDS = {"bytes": "same bytes", "pixels": "same pixels", "near": "near copy"}


def write_page(audit: Audit, path: Path) -> None:
    """Write the page, whole or not at all; it holds small copies of the images of the pairs it shows."""
    pairs = sorted(audit.pairs, key=_worst_first)
    shown = pairs[:PAIRS_SHOWN]
    verdict = "verdict leak" if audit.leaking else "verdict"
    body = lines(
        [
            tag("header", tag("h1", f"Audit of {audit.inventory.root}")),
            tag("p", audit.verdict(), class_=verdict),
            _section("Images", _counts(audit)),
            _list("Unreadable files", list(audit.inventory.unreadable.values())),
            _list("Remarks", audit.inventory.remarks),
            _list("Files that are no images", audit.inventory.not_images),
            _list("Groups on more than one side", audit.groups_across_splits),
            _pairs(audit, shown, len(pairs)) if pairs else None,
        ]
    )
    write_document(path, "Audit of a data set", tag("main", body, class_="page"))


def _worst_first(pair: PairFound) -> tuple[bool, bool]:
    return (not pair.across_splits, pair.same_class)


def _section(title: str, *content: Content) -> Markup:
    return tag("section", tag("h2", title), *content)


def _counts(audit: Audit) -> Markup:
    counts = audit.inventory.counts()
    labels = sorted({label for of_split in counts.values() for label in of_split})
    columns = [Column("Class", number=False), *(Column(split) for split in counts)]
    rows = (
        [Cell(label), *(Cell(of_split.get(label, 0)) for of_split in counts.values())] for label in labels
    )
    return table("Images of each class in each split", columns, rows, sortable=True)


def _list(title: str, items: Sequence[str]) -> Markup | None:
    if not items:
        return None
    return _section(f"{title}: {len(items)}", tag("ul", *(tag("li", item) for item in items)))


def _pairs(audit: Audit, shown: Sequence[PairFound], found: int) -> Markup:
    more = tag("p", f"The {len(shown)} worst of {found} pairs.") if len(shown) < found else None
    title = f"Files that show one photograph: {found} pairs"
    return _section(title, more, tag("div", *(_pair(audit, pair) for pair in shown), class_="photos"))


def _pair(audit: Audit, pair: PairFound) -> Markup:
    faults = [] if pair.same_class else ["different classes"]
    faults += ["across splits"] if pair.across_splits else []
    text = tag("p", KINDS[pair.kind], tag("span", f" {', '.join(faults)}", class_="warn") if faults else None)
    return tag("div", text, tag("div", *(_figure(audit, one) for one in (pair.a, pair.b)), class_="pair"))


def _figure(audit: Audit, image: ImageRecord) -> Markup:
    picture = tag("img", alt=image.file, src=data_uri(read_image(audit.inventory.root / image.file)))
    return tag("figure", picture, tag("figcaption", image.file))
