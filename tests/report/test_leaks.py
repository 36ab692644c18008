"""The page of an audit holds names from outside, and runs none of them."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from skinlesion_cli.curation.audit import Audit, ImageRecord, Inventory, PairFound
from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.report.leaks import write_page

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</figcaption></style><svg onload=alert(1)>",
    "<!--",
    "&lt;b&gt;",
    "\x1b[31mred",
    "new\nline",
    "\udcff",
    "javascript:alert(1)",
]


class Tags(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(folder: Path, name: str) -> Tags:
    root = folder / "data"
    records = []
    for split, number in (("train", 1), ("test", 2)):
        file = f"{split}/{name.replace('/', '|')}/{number}.jpg"
        (root / file).parent.mkdir(parents=True)
        draw_lesion("synthetic ring", 1).save(root / file)
        records.append(ImageRecord(file, split, name, (200, 150), "RGB", profile=name))
    inventory = Inventory(
        root, tuple(records), {name: f"cannot read {name}: {name}"}, (name,), (f"{name} holds no images",)
    )
    audit = Audit(inventory, (PairFound(*records, "bytes"),), (tuple(records),), (name,), 1, 1)
    write_page(audit, folder / "page.html")
    parsed = Tags()
    parsed.feed((folder / "page.html").read_text(encoding="utf-8"))
    return parsed


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Tags:
    return page_of(tmp_path_factory.mktemp("harmless"), "nevus")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_adds_no_tag_and_no_attribute(tmp_path: Path, harmless: Tags, name: str) -> None:
    page = page_of(tmp_path, name)
    assert page.tags == harmless.tags
    assert page.attributes == harmless.attributes
    assert set(page.tags).isdisjoint({"svg", "iframe", "link", "a", "object"})
    assert len(page.sources) == 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert all(char.isprintable() or char == "\n" for char in page.text)


def test_the_name_itself_is_shown(tmp_path: Path) -> None:
    assert "<script>alert(1)</script> holds no images" in page_of(tmp_path, HOSTILE[0]).text
