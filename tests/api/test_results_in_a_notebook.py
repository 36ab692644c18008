"""What a notebook shows of each result, and its data frames."""

import io
import re
import shutil
import sys
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import skinlesion_cli
from skinlesion_cli import Prediction
from skinlesion_cli.api.explain import Explanation
from skinlesion_cli.api.study import StudyResult
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.common.tables import html_table
from skinlesion_cli.data.framing import Frame
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.study import compare_methods
from skinlesion_cli.training.run import TrainingResult

HOSTILE = "<script src=//x></script>&'\""


class Page(HTMLParser):
    """The cells of the tables of a page, its other texts, and the addresses that it names."""

    def __init__(self, source: str):
        super().__init__()
        self.cells: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [str(value) for name, value in attrs if name in {"src", "href"}]
        if tag != "img":
            self._open.append(tag)
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"td", "th"}:
            self.cells[-1] += data
        else:
            self.texts.append(data)


def page_of(result: Any) -> Page:
    page = Page(result._repr_html_())
    assert page.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "div", "img", "p"}
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    return page


def predictions(seed: int) -> Predictions:
    generator = np.random.default_rng(seed)
    true = np.arange(60) % 3
    logits = generator.normal(size=(60, 3)) + 1.5 * np.eye(3)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = tuple(f"{number:03d}" for number in range(60))
    return Predictions(names, ("a", "b", HOSTILE), probabilities.argmax(axis=1), true, probabilities)


def test_a_prediction_shows_its_bars_and_its_picture(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    Image.new("RGB", (600, 300), "tan").save(photo, exif=exif)
    known = {HOSTILE: 0.2, "b": 0.75, "c": 0.05}
    made = Prediction(str(photo), "b", 0.75, known, distance=1.5)
    page = page_of(made)
    assert page.cells == ["class", "probability", "", "b", "75.0%", "", HOSTILE, "20.0%", "", "c", "5.0%", ""]
    assert page.texts == [f"{photo}; unlike the training images"]
    assert re.findall(r"width:([\d.]+)%", made._repr_html_()) == ["75.0", "20.0", "5.0"]
    content = b64decode(page.addresses[0].split(",")[1])
    assert b"Jane Doe" not in content
    assert Image.open(io.BytesIO(content)).size == (240, 120)
    assert made.rows()[0] == {"class": HOSTILE, "probability": 0.2}


@pytest.mark.parametrize("name", ["image 0", "gone.jpg", "broken.jpg", "\0.jpg", f"{HOSTILE}.jpg"])
def test_without_a_readable_file_there_is_no_picture(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A file whose name is that of an image in memory is another image.
    Image.new("RGB", (9, 9)).save("image 0", "PNG")
    Path("broken.jpg").write_bytes(b"\xff\xd8\xff")
    page = page_of(Prediction(name, "a", 0.9999, {"a": 0.9999, "b": 0.0001}))
    assert page.addresses == []
    assert page.cells[3:] == ["a", ">99.9%", "", "b", "<0.1%", ""]


def test_scores_have_their_intervals() -> None:
    found = skinlesion_cli.evaluate(predictions=predictions(1))
    page, document = page_of(found), found.to_dict()
    low, high = document["ci95"]["weighted_f1"]
    place = page.cells.index("Weighted F1")
    assert page.cells[place + 1 : place + 3] == [
        f"{document['weighted_f1']:.4f}",
        f"[{low:.3f}, {high:.3f}]",
    ]
    assert page.texts == ["60 images"]
    compared = skinlesion_cli.compare(predictions(1), predictions(2))
    one = compared.to_dict()["differences"]["macro_f1"]
    cells = page_of(compared).cells
    place = cells.index("Macro F1")
    assert cells[place + 1 : place + 4] == [f"{one[key]:.4f}" for key in ("a", "b", "difference")]
    assert cells[place + 4] == f"[{one['ci95'][0]:.3f}, {one['ci95'][1]:.3f}]"


def test_a_study_shows_its_methods_and_their_differences() -> None:
    runs = {"paper": [predictions(1)], HOSTILE: [predictions(2)]}
    document = compare_methods(runs, Bootstrap(60, resamples=100), disjoint=False)
    cells = page_of(StudyResult({"design": "seeds", "runs": ["seed-1"], **document})).cells
    assert cells[:3] == ["value", "paper", HOSTILE]
    place = cells.index("difference")
    assert cells[place + 1] == HOSTILE
    one = document["differences"][HOSTILE]["accuracy"]
    assert cells[place + 3].startswith(f"{one['difference']:.4f} [{one['ci95'][0]:.3f}")


def test_weights_and_epochs_are_tables(tmp_path: Path) -> None:
    cells = page_of(skinlesion_cli.weights({HOSTILE: 3, "b": 1}, beta=0.5, alpha=1)).cells
    assert cells[:3] == ["name", "count", "share"]
    assert (cells[cells.index(HOSTILE) + 1], cells[cells.index("b") + 2]) == ("3", "0.25")
    epoch = EpochRecord(1, 1.23456, 0.5, 1.0, 0.5, 0.5, 3e-4, best=True)
    cells = page_of(TrainingResult(tmp_path, tmp_path, (epoch,), 1, {}, ())).cells
    width = len(cells) // 2
    shown = dict(zip(cells[:width], cells[width:], strict=True))
    assert (shown["epoch"], shown["train_loss"], shown["learning_rate"]) == ("1", "1.235", "0.0003")
    assert (shown["best"], shown["val_weighted_auc"]) == ("True", "–")


def test_an_explanation_is_a_picture() -> None:
    image = Image.new("RGB", (480, 320), (120, 120, 120))
    heat = np.ones((64, 64), np.float32)
    made = Explanation(image, Frame(80, 0, 400, 320), heat, (2, 2), "layer", HOSTILE, 0.5, source="x.jpg")
    page = page_of(made)
    assert page.texts == [f"{HOSTILE} 50.0%, {made.method}: x.jpg"]
    assert Image.open(io.BytesIO(b64decode(page.addresses[0].split(",")[1]))).size == (240, 160)


def test_an_audit_shows_its_verdict_and_its_pairs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where it is remembered which data sets were audited.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split in ("train", "test"):
        shutil.copytree(data / "test", tmp_path / "leaking" / split)
    found = skinlesion_cli.audit(tmp_path / "leaking", num_workers=0, near=False)
    page = page_of(found)
    assert page.texts == [found.verdict()]
    assert page.cells[:3] == ["a", "b", "kind"]
    assert page.cells.count("bytes") == len(found.rows()) == 9


def test_an_empty_table_and_undefined_numbers() -> None:
    assert Page(html_table([])).cells == []
    assert Page(html_table([{"a": float("nan"), "b": None, "c": 12345.678, "d": 12345}])).cells[4:] == [
        "–",
        "–",
        "12345.7",
        "12345",
    ]


def test_a_data_frame_has_the_rows() -> None:
    pandas = pytest.importorskip("pandas")
    for result in (skinlesion_cli.weights(), skinlesion_cli.evaluate(predictions=predictions(1))):
        frame = result.to_frame()
        assert isinstance(frame, pandas.DataFrame)
        assert frame.to_dict("records") == result.rows()


def test_without_pandas_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"^pandas is needed for a data frame: pip install pandas$"):
        skinlesion_cli.weights().to_frame()
