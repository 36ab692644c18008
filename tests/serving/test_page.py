"""The page in a real browser, where there is one: desktop and phone, right and wrong files."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skinlesion_cli.common.limits import MAX_UPLOAD_BYTES
from skinlesion_cli.report.figures import probability_text
from skinlesion_cli.serving.answers import Answers
from tests.support.browser import BROWSER, DRIVER, Browser, browser
from tests.support.processes import started

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="there is no chromium, or no chromedriver, on PATH"
)

GIVE = """
const [way, files] = arguments, data = new DataTransfer();
for (const [name, type, content, size] of files) {
  const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
  data.items.add(new File([bytes, new Uint8Array(size)], name, { type }));
}
const drop = document.querySelector("#drop"), choose = document.querySelector("#choose");
const told = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
if (way === "drop") drop.dispatchEvent(new DragEvent("drop", told));
if (way === "paste") drop.dispatchEvent(new ClipboardEvent("paste", told));
if (way === "choose") {
  choose.files = data.files;
  choose.dispatchEvent(new Event("change", told));
}
"""
STATE = """
const all = (selector) => [...document.querySelectorAll(selector)];
const shown = (item) => item.checkVisibility();
return {
  answers: all(".result .top").filter(shown).map((one) => one.textContent.trim()),
  bars: all(".result tbody tr").filter(shown).length,
  faults: all(".state.problem").filter(shown).map((one) => one.textContent),
  drawn: all("img").filter((image) => shown(image) && image.naturalWidth > 0 && image.alt).length,
  told: document.querySelector("#told").textContent,
  problem: document.querySelector("#problem").textContent,
  wide: document.documentElement.scrollWidth - innerWidth,
  columns: getComputedStyle(document.querySelector("#list")).gridTemplateColumns.split(" ").length,
  paper: getComputedStyle(document.body).backgroundColor,
  unnamed: all("button, input").filter((one) => shown(one) && !one.innerText && !one.labels?.length).length,
};
"""


def given(path: Path, name: str | None = None, kind: str = "image/jpeg", size: int = 0) -> list[object]:
    return [name or path.name, kind, base64.b64encode(path.read_bytes()).decode(), size]


@pytest.fixture(scope="module")
def url(checkpoint: Path, command_environment: dict[str, str]) -> Iterator[str]:
    """The address of a running server."""
    command = [sys.executable, "-m", "skinlesion_cli", "serve", "--checkpoint", checkpoint]
    command += ["--port", "0", "--min-confidence", "1"]
    with started(command, env=command_environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@pytest.fixture
def page(url: str, tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as window:
        window.resize(1280, 900)
        window.open(url)
        window.wait("document.querySelector('#model').textContent")
        window.requests()
        yield window


def press(page: Browser, key: str, number: int) -> None:
    for kind in ("keyDown", "keyUp"):
        page.devtools("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=number)


def answered(page: Browser, number: int) -> None:
    page.wait(f"document.querySelectorAll('.result:not([hidden]), .state.problem').length === {number}")


def test_photographs_are_answered_side_by_side(page: Browser, url: str, data: Path, answers: Answers) -> None:
    files = sorted((data / "test").rglob("*.jpg"))
    many = [*files, *files][:10]
    for way, file in zip(("drop", "paste", "choose"), files, strict=False):
        page.run(GIVE, way, [given(file, f"{way}.jpg")])
    answered(page, 3)
    # All at once, and one name that would be markup.
    page.run(
        GIVE,
        "drop",
        [given(file, f"<img src=x>{number}.jpg") for number, file in enumerate([*files, *files][:10])],
    )
    answered(page, 13)
    state = page.run(STATE)
    expected = [answers.predictor.predict(file) for file in [*files[:3], *many]]
    top = [f"{one.label} {probability_text(one.confidence)}" for one in expected]
    # Two at a time, so that the second may be answered before the first.
    assert sorted(state["answers"]) == sorted(top)
    assert state["bars"] == 3 * 13
    assert state["drawn"] == 3 * 13
    assert (state["faults"], state["problem"], state["unnamed"]) == ([], "", 0)
    assert state["told"].startswith("<img src=x>")
    assert (state["columns"], state["paper"]) == (3, "rgb(255, 255, 255)")
    assert page.run("return document.querySelectorAll('.uncertain:not([hidden])').length") == 13
    assert page.complaints() == []
    assert {one.partition("?")[0] for one in page.requests()} == {f"{url}api/predict"}
    # A phone, in the dark.
    page.resize(390, 844)
    page.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    state = page.run(STATE)
    assert state["wide"] <= 0
    assert (state["columns"], state["paper"]) == (1, "rgb(18, 21, 25)")


def test_the_heat_map_follows_the_slider_and_answers_can_be_removed(page: Browser, picture: Path) -> None:
    page.run(GIVE, "drop", [given(picture), given(picture, "second.jpg")])
    answered(page, 2)
    heat = "document.querySelector('.heat')"
    assert page.run(f"return getComputedStyle({heat}).opacity") == "1"
    # The keyboard reaches every control, in the order of the page.
    reached = []
    for _ in range(4):
        press(page, "Tab", 9)
        reached.append(page.run("const at = document.activeElement; return at.id || at.className || at.type"))
    assert reached == ["choose", "clear", "remove", "range"]
    for _ in range(4):
        press(page, "ArrowLeft", 37)
    assert page.run(f"return getComputedStyle({heat}).opacity") == "0.8"
    page.run("document.querySelector('.remove').click()")
    assert page.run("return [document.querySelectorAll('li').length, document.activeElement.ariaLabel]") == [
        1,
        "Remove second.jpg",
    ]
    page.run("document.querySelector('#clear').click()")
    assert page.run("return [document.querySelectorAll('li').length, document.activeElement.id]") == [
        0,
        "choose",
    ]


def test_wrong_files_are_named_and_huge_ones_not_sent(page: Browser, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    wrong = given(tmp_path / "notes.txt", kind="text/plain")
    page.run(GIVE, "drop", [wrong, given(picture, "huge.jpg", size=MAX_UPLOAD_BYTES), given(picture)])
    answered(page, 3)
    state = page.run(STATE)
    assert len(state["answers"]) == 1
    assert [one.partition(" (")[0] for one in state["faults"]] == [
        "cannot read notes.txt: it is not an image in a known format",
        "cannot read huge.jpg: it is larger than 64 MiB",
    ]
    assert len(page.requests()) == 2
    page.run(GIVE, "drop", [])
    assert page.run(STATE)["problem"].startswith("There was no photograph in it.")
