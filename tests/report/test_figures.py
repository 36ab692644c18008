from skinlesion_cli.report.figures import probability_text


def test_what_is_nearly_certain_is_not_shown_as_certain() -> None:
    values = (0, 1e-5, 0.0005, 0.5, 0.99949, 0.9995, 1 - 1e-9, 1)
    texts = ["0.0%", "<0.1%", "0.1%", "50.0%", "99.9%", ">99.9%", ">99.9%", "100.0%"]
    assert [probability_text(value) for value in values] == texts
