from skinlesion_cli.report.markup import Markup, join, lines, tag


def test_what_is_no_markup_is_escaped() -> None:
    assert tag("td", "<script>", 3, title='a"b') == '<td title="a&quot;b">&lt;script&gt;3</td>'
    assert tag("p", tag("b", "x & y"), None, "") == "<p><b>x &amp; y</b></p>"
    assert join("<", Markup("<")) == "&lt;<"


def test_attributes_are_written_as_html_has_them() -> None:
    drawn = tag("img", class_="a", data_sort=0.5, hidden=True, alt="", title=None, open=False)
    assert drawn == '<img class="a" data-sort="0.5" hidden alt="">'
    assert tag("svg", viewBox="0 0 1 1") == '<svg viewBox="0 0 1 1"></svg>'


def test_empty_pieces_have_no_line() -> None:
    assert lines(["a", None, "", tag("br")]) == "a\n<br>"
