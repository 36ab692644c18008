"""The page in a real browser, where there is one: nothing overflows, and a press on a head sorts."""

import json
import re
import shutil
from html import escape, unescape
from typing import Any

import pytest

from skinlesion_cli.report.facts import read_run
from skinlesion_cli.report.page import write_page
from tests.support.finished_run import write_finished_run
from tests.support.processes import run_to_end

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium on PATH")

# A browser's window has a least width; a frame has none. `srcdoc` lets the page around it look inside.
HOST = """<!doctype html><meta charset="utf-8"><body>
<iframe width="1280" height="800" srcdoc="{page}"></iframe>
<iframe width="390" height="800" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  const told = [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument, root = page.documentElement;
    const table = page.querySelector("#classes table");
    const press = (column) => table.tHead.rows[0].cells[column].querySelector("button").click();
    const key = (cell) => cell.dataset.sort ?? cell.textContent;
    const state = (column) => [
      table.tHead.rows[0].cells[column].getAttribute("aria-sort"),
      [...table.tBodies[0].rows].map((row) => key(row.cells[column])),
    ];
    const boxes = [...page.querySelectorAll(".wide")];
    const hides = (box) => box.scrollWidth > box.clientWidth + 1;
    const sorted = [];
    for (const column of [1, 1, 0]) {{ press(column); sorted.push(state(column)); }}
    return {{
      wide: root.scrollWidth, inner: frame.contentWindow.innerWidth, sorted,
      hidden: boxes.filter((box) => hides(box) && !box.matches(".confusion")).length,
      untold: boxes.filter((box) => hides(box) !== box.matches(".more")).length,
      heads: table.querySelectorAll("[aria-sort]").length,
      columns: getComputedStyle(page.querySelector(".cards")).gridTemplateColumns.split(" ").length,
    }};
  }});
  document.body.innerHTML = "<pre id=told></pre>";
  document.querySelector("pre").textContent = JSON.stringify(told);
}});
</script>"""
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --dump-dom"
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the page says of itself in a wide frame and in a narrow one."""
    folder = tmp_path_factory.mktemp("browser")
    names = ("Melanoma", "Benign keratosis-like lesions, all kinds of them", "A" * 60)
    write_page(read_run(write_finished_run(folder / "run", names)), folder / "page.html")
    page = escape((folder / "page.html").read_text(encoding="utf-8"))
    (folder / "host.html").write_text(HOST.format(page=page), encoding="utf-8")
    assert BROWSER is not None
    profile = f"--user-data-dir={folder / 'profile'}"
    done = run_to_end([BROWSER, *FLAGS.split(), profile, (folder / "host.html").as_uri()], seconds=60)
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stdout[-2000:]
    wide, narrow = json.loads(unescape(found[1]))
    return [wide, narrow]


def test_nothing_is_wider_than_the_window(told: list[dict[str, Any]]) -> None:
    assert [one["inner"] for one in told] == [1280, 390]
    for one in told:
        assert one["wide"] <= one["inner"]
    assert [one["columns"] for one in told] == [4, 2]


def test_no_table_hides_a_column_and_a_matrix_says_so(told: list[dict[str, Any]]) -> None:
    assert [(one["hidden"], one["untold"]) for one in told] == [(0, 0)] * 2


def test_a_press_on_a_head_sorts_and_says_so(told: list[dict[str, Any]]) -> None:
    assert len(told) == 2
    for one in told:
        down, up, names = one["sorted"]
        assert down == ["descending", ["18", "11", "5"]]
        assert up == ["ascending", ["5", "11", "18"]]
        assert names == ["ascending", sorted(names[1], key=str.casefold)]
        assert one["heads"] == 1
