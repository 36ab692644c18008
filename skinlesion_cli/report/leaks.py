"""The page of an audit: one HTML file that needs no network, duplicate pairs side by side."""

from pathlib import Path

from skinlesion_cli.common.files import write_text
from skinlesion_cli.curation.audit import Audit, PairFound
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.thumbnail import data_uri
from skinlesion_cli.report.sections.audit import class_counts
from skinlesion_cli.report.templates import render_html

MAX_PAIRS, MAX_LABELS = 200, 100
KINDS = {"bytes": "same bytes", "pixels": "same pixels", "near": "near-duplicate"}


def write_page(audit: Audit, path: Path) -> None:
    """Write the page, completely or not at all; it contains small copies of the images in the pairs."""
    inventory = audit.inventory
    lists = (
        ("Unreadable files", list(inventory.unreadable.values())),
        ("Remarks", inventory.remarks),
        ("Files that are not images", inventory.not_images),
        (
            "Colour profiles, converted to sRGB unless damaged",
            [f"{name}: {number} images" for name, number in inventory.profiles().items()],
        ),
        ("Groups that span splits", audit.groups_across_splits),
    )
    page = render_html(
        "audit.html",
        "Audit of a data set",
        audit=audit,
        counts=class_counts(inventory.counts()),
        lists=lists,
        pairs=sorted(audit.pairs, key=lambda pair: (not pair.across_splits, pair.same_class))[:MAX_PAIRS],
        kinds=KINDS,
        doubts=audit.labels.doubts[:MAX_LABELS] if audit.labels else (),
        faults=_faults,
        thumbnail=lambda file: data_uri(read_image(inventory.root / file)),
    )
    write_text(path, page)


def _faults(pair: PairFound) -> str:
    faults = {"different classes": not pair.same_class, "across splits": pair.across_splits}
    return ", ".join(name for name, found in faults.items() if found)
