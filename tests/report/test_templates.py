"""Whatever is not markup is escaped, in HTML and in Markdown."""

from xml.etree import ElementTree

import numpy as np
import pytest

from skinlesion_cli.report import plots
from skinlesion_cli.report.content import Chart, Number, table
from skinlesion_cli.report.templates import _environment, _html, _markdown, _svg


def rendered(source: str, finalize: object = _html, **values: object) -> str:
    return _environment(finalize).from_string(source).render(values)


def blocks(call: str, **values: object) -> str:
    return rendered('{% import "blocks.html" as blocks %}{{ blocks.' + call + " }}", **values)


def test_what_is_not_markup_is_escaped() -> None:
    assert rendered('<td title="{{ title }}">{{ text }}</td>', title='a"b', text="<script>") == (
        '<td title="a&#34;b">&lt;script&gt;</td>'
    )
    assert rendered("{{ a }}|{{ b }}", a=None, b="x\x1b\udcff & y") == "|x\\x1b\\udcff &amp; y"


def test_no_character_of_a_name_is_a_mark_in_markdown() -> None:
    assert rendered("{{ name }}", _markdown, name="a|b <i> *c* `d`\n_e_ [f]") == (
        "a\\|b &lt;i&gt; \\*c\\* \\`d\\` \\_e\\_ \\[f\\]"
    )


def test_a_table_says_what_it_is_sorted_by() -> None:
    cells = ["<b>", 1234, Number(0.5, (0.25, 0.75)), Number(None)]
    root = ElementTree.fromstring(blocks("table(table)", table=table("t", "abcd", [cells], sortable=True)))
    assert (root.get("aria-label"), root.get("tabindex")) == ("t", "0")
    assert [one.get("class") for one in root.iter("th")] == [None, "number", "number", "number", None]
    assert root.find("table/tbody/tr/th").text == "<b>"
    shown = [("".join(one.itertext()), one.get("data-sort")) for one in root.iter("td")]
    assert shown == [("1\N{NARROW NO-BREAK SPACE}234", "1234"), ("0.500[0.250, 0.750]", "0.5"), ("–", "")]


def test_a_strip_shows_the_number_and_its_interval() -> None:
    drawn = ElementTree.fromstring(blocks('strip(number, "F1")', number=Number(0.5, (0.25, 1.5))))
    whisker, dot = drawn.findall("line")[1], drawn.find("circle")
    assert drawn.findtext("title") == "F1 0.500 [0.250, 1.500]"
    assert (whisker.get("x1"), whisker.get("x2"), dot.get("cx")) == ("25.0%", "100.0%", "50.0%")
    assert len(ElementTree.fromstring(blocks('strip(number, "F1")', number=Number(0.5))).findall("line")) == 1
    assert blocks('strip(number, "F1")', number=Number(float("nan"))) == "–"


@pytest.mark.parametrize(("bar", "width"), [(0.25, "25.0%"), (7, "100.0%")])
def test_a_bar_is_as_long_as_its_share(bar: float, width: str) -> None:
    drawn = blocks("cell(number)", number=Number(3, text="three", bar=bar, colour="grey"))
    assert drawn.startswith("three<svg")
    assert f'class="grey" width="{width}"' in drawn


def test_a_chart_follows_the_page_and_can_be_heard() -> None:
    history = [{"low": 0.0, "high": 0.5, "count": 1, "confidence": 0.4, "accuracy": 1.0}]
    drawn = _svg(Chart("Reliability of <x>", lambda axes: plots.plot_reliability(axes, history)), small=False)
    root = ElementTree.fromstring(drawn)
    assert (root.get("role"), root.get("aria-label"), root.findtext("title")) == (
        *("img", "Reliability of <x>", "Reliability of <x>"),
    )
    texts = {one.text for one in root.iter("text")}
    assert texts >= {"Confidence", "Accuracy", "0.25"}
    # No style, link or colour that the page does not choose.
    assert not {"style", "clip-path"} & {name for one in root.iter() for name in one.attrib}
    colours = {one.get(name) for one in root.iter() for name in ("fill", "stroke")} - {None, "none"}
    assert colours == {"var(--line)", "var(--grey)", "var(--blue)"}


def test_charts_on_one_page_share_no_id() -> None:
    def roc(title: str) -> str:
        points = [{"name": "youden", "sensitivity": 0.5, "specificity": 0.5}]
        return _svg(Chart(title, lambda axes: plots.plot_operating_points(axes, points)), small=True)

    first, second = (ElementTree.fromstring(roc(title)) for title in ("a", "b"))
    ids = [{one.get("id") for one in root.iter() if one.get("id")} for root in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for root, own in zip((first, second), ids, strict=True):
        assert {one.get("href")[1:] for one in root.iter("use")} == own
    assert roc("a") == roc("a")


def test_a_long_curve_is_simplified() -> None:
    x = np.linspace(0, 1, 100_000)
    drawn = _svg(Chart("ROC", lambda axes: plots.plot_roc(axes, x, x**0.3)), small=True)
    assert len(drawn) < 10_000
