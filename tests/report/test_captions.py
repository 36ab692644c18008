import pytest

from skinlesion_cli.report.heatmaps.captions import folded


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("Melanoma", 20, ["Melanoma"]),
        ("Benign keratosis-like lesions", 20, ["Benign keratosis-", "like lesions"]),
        ("ISIC_0030463_downsampled.jpg", 16, ["ISIC_0030463_", "downsampled.jpg"]),
        ("Dermatofibrosarcoma", 10, ["Dermatofi…", "brosarcoma"]),
        ("of Dermatofibrosarcoma", 10, ["of", "Dermatofi…", "brosarcoma"]),
        ("", 10, []),
        (
            "\u8272\u7d20\u75e3\u548c\u9ed1\u8272\u7d20\u7624",
            10,
            ["\u8272\u7d20\u75e3\u548c…", "\u9ed1\u8272\u7d20\u7624"],
        ),
        ("a\nb", 10, [r"a\nb"]),
    ],
)
def test_lines_break_between_words_or_say_that_they_do_not(text: str, width: int, lines: list[str]) -> None:
    assert folded(text, width) == lines


def test_too_many_lines_lose_the_end_or_the_beginning() -> None:
    text = "one two three four five six"
    assert folded(text, 5, most=3) == ["one", "two", "thre…"]
    assert folded(text, 5, most=3, keep_end=True) == ["…four", "five", "six"]
