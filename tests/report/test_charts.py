import math
from xml.etree import ElementTree

import pytest

from skinlesion_cli.report.axes import Axis, epoch_axis, fitted_axis, share_axis
from skinlesion_cli.report.charts import Bar, Line, Point, Size, chart, share_bar, strip

SQUARE = Size(120, 120, left=10, bottom=10, top=10, right=10)


def elements(drawn: str, name: str, kind: str = "") -> list[ElementTree.Element]:
    found = ElementTree.fromstring(drawn).iter(name)
    return [one for one in found if kind in one.get("class", "").split() or not kind]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.13, 2.04), (0, 0.5, 1, 1.5, 2, 2.5)),
        ((3, 812), (0, 200, 400, 600, 800, 1000)),
        ((-1.0, 1.0), (-1, -0.5, 0, 0.5, 1)),
        ((math.nan, 4.0), (0, 1, 2, 3, 4)),
        ((0.0,), (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ((), (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ],
)
def test_a_fitted_axis_has_round_ticks_around_its_values(
    values: tuple[float, ...], ticks: tuple[float, ...]
) -> None:
    axis = fitted_axis("y", values)
    assert axis.ticks == pytest.approx(ticks)
    assert (axis.low, axis.high) == (ticks[0], ticks[-1])


def test_epochs_are_whole_numbers() -> None:
    assert epoch_axis(3).ticks == (1, 2, 3)
    assert epoch_axis(60).ticks == (1, 10, 20, 30, 40, 50, 60)
    assert epoch_axis(1).ticks == (1,)


def test_a_line_goes_where_its_points_are_and_bends_only_where_they_do() -> None:
    line = Line([0, 0.25, 0.5, 1, 1], [0, 0, 0, 0, 1])
    drawn = chart("t", share_axis("x"), share_axis("y"), lines_=[line], size=SQUARE)
    (path,) = elements(drawn, "path", "line")
    assert path.get("d") == "M10,110 110,110 110,10"


def test_a_line_stops_where_a_point_is_missing() -> None:
    line = Line([0, 0.5, 1], [0.0, math.nan, 1.0], "a", dots=True)
    drawn = chart("t", share_axis("x"), share_axis("y"), lines_=[line], size=SQUARE)
    assert elements(drawn, "path", "line")[0].get("d", "").count("M") == 2
    assert len(elements(drawn, "circle", "dot")) == 2


def test_bars_stand_on_the_floor() -> None:
    bars = [Bar(0.2, 0.4, 0.5, "five")]
    drawn = chart("t", share_axis("x"), share_axis("y"), bars=bars, size=SQUARE)
    (bar,) = elements(drawn, "rect", "bar")
    assert [bar.get(name) for name in ("x", "y", "width", "height")] == ["30.5", "60", "19", "50"]
    assert bar.findtext("title") == "five"


def test_what_a_chart_shows_can_be_heard() -> None:
    lines = [Line([1, 2], [0, 1], "first <one>"), Line([1, 2], [1, 0], "second", "grey", dashed=True)]
    drawn = chart("ROC of <x>", epoch_axis(2), share_axis("Score"), lines_=lines, kept=(2.0, "kept: epoch 2"))
    root = ElementTree.fromstring(drawn)
    assert (root.get("role"), root.findtext("title")) == ("img", "ROC of <x>")
    texts = [one.text for one in root.iter("text")]
    assert {"first <one>", "second", "kept: epoch 2", "Epoch", "Score", "0.25"} <= set(texts)
    assert "dashed" in elements(drawn, "path", "grey")[0].get("class", "")


def test_a_points_name_stays_inside() -> None:
    points = [Point(0.05, 0.5, "left"), Point(0.98, 0.5, "a long name at the right edge")]
    drawn = chart("t", share_axis("x"), share_axis("y"), points=points)
    assert [one.get("class") for one in elements(drawn, "text", "name")] == ["name", "name end"]


def test_a_strip_shows_the_figure_and_its_interval() -> None:
    drawn = strip(0.5, (0.25, 1.5), "F1")
    (whisker,), (dot,) = elements(drawn, "line", "whisker"), elements(drawn, "circle", "dot")
    assert (whisker.get("x1"), whisker.get("x2"), dot.get("cx")) == ("32.0", "116.0", "60.0")
    assert not elements(strip(0.5, None, "F1"), "line", "whisker")


def test_a_share_bar_is_as_long_as_the_share() -> None:
    assert [elements(share_bar(share), "rect")[0].get("width") for share in (0.25, 7)] == ["25.0", "100.0"]


def test_values_beyond_an_axis_are_put_on_its_end() -> None:
    axis = Axis("x", 0.0, 2.0, (0.0, 2.0))
    assert [axis.place(value) for value in (-1, 0.5, 3)] == [0.0, 0.25, 1.0]
