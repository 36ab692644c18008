"""Figures in every format, the same bytes each time, and names in scripts that few fonts have."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager, get_data_path
from matplotlib.figure import Figure

from skinlesion_cli.api.evaluate import evaluate
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import EpochRecord, Event, Warned
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.metrics.evaluation import evaluate as score_all
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.report import fonts, plots, results
from skinlesion_cli.report.drawing import save_figure
from tests.support.simulated import simulated

STARTS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
RARE = "\N{CJK UNIFIED IDEOGRAPH-3400}"
"""A character that no font of matplotlib has; one of this machine may."""


def named(*classes: str) -> Predictions:
    drawn = simulated(30, len(classes))
    return Predictions(drawn.images, classes, drawn.predicted, drawn.true, drawn.probabilities)


@pytest.mark.parametrize("figures", STARTS)
def test_the_figures_of_an_evaluation_have_the_format_and_the_same_bytes(
    figures: str, tmp_path: Path
) -> None:
    for folder in ("one", "two"):
        evaluate(predictions=named("nevus", "naevus bleu à reflets"), out=tmp_path / folder, figures=figures)
    for name in ("confusion_matrix", "reliability"):
        one, two = ((tmp_path / folder / f"{name}.{figures}").read_bytes() for folder in ("one", "two"))
        assert one.startswith(STARTS[figures])
        assert one == two
    assert len(list((tmp_path / "one").iterdir())) == 4


def test_the_figures_of_a_training_run_have_the_format(tmp_path: Path) -> None:
    predictions = named("nevus", "melanoma")
    scores, document = score_all(predictions, "test")
    settings = Settings(figures="svg")
    results.write_class_weights(tmp_path, {"nevus": 9, "melanoma": 4}, settings)
    results.write_split(tmp_path, "test", predictions, scores, settings.figures)
    record = EpochRecord(1, 2.0, 0.5, 1.5, 0.6, 0.55, 3e-4, True)
    results.write_run(tmp_path, [record], 1, {"test": document}, settings.figures)
    assert {one.name for one in tmp_path.iterdir()} == {
        *("class_weights.svg", "test_confusion.svg", "learning_curves.svg"),
        *("test_predictions.csv", "metrics.json"),
    }
    with pytest.raises(InputError, match="is not one of png, pdf, svg"):
        Settings(figures="gif")


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the fonts that matplotlib brings along."""
    own = [one for one in font_manager.fontManager.ttflist if one.fname.startswith(get_data_path())]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    forget()
    yield
    monkeypatch.undo()
    forget()


def forget() -> None:
    fonts._fonts.cache_clear()
    fonts._family_with.cache_clear()


def texts(figure: Figure) -> list[str]:
    return [one.get_text() for one in figure.axes[0].get_xticklabels()]


@pytest.mark.usefixtures("lacking")
def test_what_no_font_has_is_escaped_and_told_in_one_warning(tmp_path: Path) -> None:
    # Chinese, Devanagari, an emoji with a variation selector; Arabic and Greek are in matplotlib's font.
    names = ["母斑", "तिल", "\N{MICROSCOPE}\N{VARIATION SELECTOR-16}", "شامة", "μελάνωμα", "a", "b", "c"]
    figure = plots.confusion_matrix(np.eye(8, dtype=int), names, "test")
    save_figure(figure, tmp_path / "m.png")
    assert texts(figure) == [
        *(
            "\\u6bcd\\u6591",
            "\\u0924\\u093f\\u0932",
            "\\U0001f52c\N{VARIATION SELECTOR-16}",
            "شامة",
            "μελάνωμα",
            "a",
            "b",
            "c",
        ),
    ]
    told: list[Event] = []
    evaluate(predictions=named(*names), out=tmp_path / "out", on_event=told.append)
    (warning,) = [one.text for one in told if isinstance(one, Warned)]
    assert warning.startswith("no font on this machine can draw 母, 斑, त and 3 more in figures")
    assert "(\\u6bcd)" in warning
    assert fonts.undrawable(["nevus", "شامة"]) == ""


@pytest.mark.usefixtures("lacking")
def test_a_font_of_the_machine_fills_the_gap(tmp_path: Path) -> None:
    assert fonts.undrawable([RARE])
    from fontTools.ttLib import TTFont

    source = font_manager.findfont("DejaVu Sans")
    made = TTFont(source)
    for table in made["cmap"].tables:
        table.cmap[ord(RARE)] = "A"
    for record in made["name"].names:
        if record.nameID in (1, 4, 16):
            record.string = "Rare Test"
    shutil.copy(source, tmp_path / "rare.ttf")
    made.save(tmp_path / "rare.ttf")
    font_manager.fontManager.addfont(tmp_path / "rare.ttf")
    forget()
    assert fonts.undrawable([RARE]) == ""
    figure = plots.confusion_matrix(np.eye(2, dtype=int), [RARE, "b"], "test")
    # Warnings are errors here: no glyph is missing.
    save_figure(figure, tmp_path / "m.png")
    assert texts(figure) == [RARE, "b"]
    assert figure.axes[0].get_xticklabels()[0].get_fontfamily() == ["DejaVu Sans", "Rare Test"]
