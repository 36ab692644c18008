import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from skinlesion_cli.metrics.predictions import read_predictions
from skinlesion_cli.report.facts import read_run
from skinlesion_cli.report.page import write_page
from tests.support.finished_run import CLASSES, write_finished_run

HOSTILE = ("Melanoma", "<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>")
SECTIONS = [
    *("scores", "classes", "confusion", "curves", "malignant", "calibration", "selective", "sources"),
    *("mistakes", "learning", "balance", "limits", "published"),
    *("tripod", "clear-derm", "settings", "environment"),
]


class Outline(HTMLParser):
    """Elements, their attributes, and the text of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((name, {key: value or "" for key, value in attributes}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, name: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.found if found == name]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finished_run(tmp_path_factory.mktemp("run"))


def page_of(root: Path, target: Path, **options: str) -> tuple[str, Outline]:
    write_page(read_run(root), target, **options)
    page = target.read_text(encoding="utf-8")
    return page, Outline(page)


def test_every_section_is_there_and_in_the_contents(run: Path, tmp_path: Path) -> None:
    _, outline = page_of(run, tmp_path / "page.html", title="My model")
    there = [one["id"] for one in outline.named("section")]
    assert there == [*SECTIONS, "missing"]
    links = [one["href"] for one in outline.named("a")]
    assert links == ["#main", *(f"#{key}" for key in there)]
    assert {name for name, _ in outline.found} >= {"header", "nav", "main", "footer", "h1", "h2"}
    assert len(outline.named("h1")) == 1
    assert outline.text.count("not a medical device") == 1
    assert "Leaks between the splits: the data set's folder was not found" in outline.text
    # One panel a class and curve, not one chart with all of them.
    assert sum(one.get("class") == "chart" for one in outline.named("svg")) == 2 * len(CLASSES) + 6


def test_the_figures_are_those_of_metrics_json(run: Path, tmp_path: Path) -> None:
    _, outline = page_of(run, tmp_path / "page.html")
    test = json.loads((run / "results" / "metrics.json").read_text(encoding="utf-8"))["test"]
    for name in ("weighted_f1", "macro_f1", "balanced_accuracy", "weighted_auc"):
        low, high = test["ci95"][name]
        assert f"{test[name]:.3f}[{low:.3f}, {high:.3f}]" in outline.text
    for name, one in test["per_class"].items():
        assert f"{name}{one['support']}" in outline.text
    counts = [value for row in test["confusion_matrix"] for value in row]
    matrix = outline.text[outline.text.index("True → predicted") :]
    shown = re.findall(r"(\d+?)(?:\d{1,3}|<1)%", matrix[: matrix.index("Training split")])
    assert len(shown) == sum(1 for value in counts if value)
    assert "0.9263" in outline.text
    assert "3\N{NARROW NO-BREAK SPACE}674 images" in outline.text
    assert "most test images have a sibling in training" in outline.text


def test_nothing_is_fetched_and_no_name_becomes_code(tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run", HOSTILE)
    page, outline = page_of(root, tmp_path / "page.html", title="<script>alert(3)</script>")
    assert [name for name, _ in outline.found].count("script") == 1
    assert not outline.named("link")
    assert not outline.named("iframe")
    for _, attributes in outline.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"https?://|url\(|@import", page)
    (policy,) = [one["content"] for one in outline.named("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert outline.text.count("<script>alert(1)</script>") > 3


def test_a_missing_file_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run")
    for name in ("test_predictions.csv", "environment.json", "history.csv", "settings.toml"):
        (root / "results" / name).unlink()
    _, outline = page_of(root, tmp_path / "page.html")
    gone = {"curves", "mistakes", "environment", "learning", "settings"}
    assert {one["id"] for one in outline.named("section")} == set(SECTIONS) - gone | {"missing"}
    for reason in (
        "ROC and precision–recall curves: results/test_predictions.csv was not found.",
        "Most confident errors: results/test_predictions.csv was not found.",
        "Learning curves: results/history.csv was not found.",
        "Settings: results/settings.toml was not found.",
        "Versions and machine: results/environment.json was not found.",
        "Leaks between the splits: the data set's folder was not found; give it with --data.",
    ):
        assert reason in outline.text


def test_a_run_without_a_test_split_shows_validation_and_says_so(tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run")
    path = root / "results" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    del metrics["test"]
    path.write_text(json.dumps(metrics), encoding="utf-8")
    _, outline = page_of(root, tmp_path / "page.html")
    assert "Validation split, 28 images" in outline.text
    assert "There is no test split" in outline.text


def test_figures_that_are_undefined_are_dashes(tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run")
    path = root / "results" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics["test"] |= {"weighted_auc": None, "malignant": None, "blocks": None}
    metrics["test"]["ci95"]["weighted_auc"] = None
    first = metrics["test"]["per_class"][CLASSES[0]]
    first |= dict.fromkeys(("precision", "f1", "auc", "average_precision"))
    path.write_text(json.dumps(metrics), encoding="utf-8")
    _, outline = page_of(root, tmp_path / "page.html")
    assert "Weighted AUC–no interval" in outline.text
    assert "no class is known to be malignant" in outline.text


def test_the_most_confident_errors_come_first(run: Path, tmp_path: Path) -> None:
    _, outline = page_of(run, tmp_path / "page.html")
    predictions = read_predictions(run / "results" / "test_predictions.csv")
    wrong = [row for row in range(len(predictions)) if predictions.predicted[row] != predictions.true[row]]
    wrong.sort(key=lambda row: -predictions.probabilities[row].max())
    mistakes = outline.text[outline.text.index("wrong predictions with the highest confidence") :]
    places = [mistakes.index(predictions.images[row]) for row in wrong[:12]]
    assert len(wrong) > 2
    assert places == sorted(places)


def test_tables_scroll_in_their_box_and_nothing_has_a_fixed_width(run: Path, tmp_path: Path) -> None:
    page, outline = page_of(run, tmp_path / "page.html")
    boxes = [one for name, one in outline.found if name == "div" and "wide" in one.get("class", "").split()]
    assert len(boxes) == len(outline.named("table")) > 3
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in boxes)
    assert "viewport" in [one.get("name") for one in outline.named("meta")]
    style = page[page.index("<style>") : page.index("</style>")]
    for rule in ("overflow-x: auto", "prefers-color-scheme: dark", "@media print", "max-width: 31rem"):
        assert rule in style
    assert not re.findall(r"(?<!-)\bwidth: (?!100%|1em|60px)[^;]+;", style)
