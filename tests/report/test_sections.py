"""A section is told once: the page, the card and the terminal show the same numbers."""

import io
import json
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from skinlesion_cli.cli.terminal import tables
from skinlesion_cli.metrics.evaluation import evaluate
from skinlesion_cli.report.card import model_card
from skinlesion_cli.report.content import Number, table
from skinlesion_cli.report.facts import RunFacts, read_run
from skinlesion_cli.report.figures import figure
from skinlesion_cli.report.page import sections, write_page
from skinlesion_cli.report.sections import calibration, curves, data, scores, subgroups
from skinlesion_cli.report.sections.limits import limits
from tests.support.finished_run import write_finished_run, write_json


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RunFacts:
    return read_run(write_finished_run(tmp_path_factory.mktemp("run")))


def printed(drawn: object) -> str:
    written = io.StringIO()
    Console(width=120, file=written).print(drawn)
    return written.getvalue()


def test_page_card_and_terminal_show_the_same_numbers(facts: RunFacts, tmp_path: Path) -> None:
    write_page(facts, tmp_path / "page.html")
    page, card = (tmp_path / "page.html").read_text(encoding="utf-8"), model_card(facts, "x")
    for name, one in (
        ("malignant", curves.malignant(facts.document["malignant"])),
        ("calibration", calibration.calibration(facts.document["calibration"])),
    ):
        terminal = printed(tables.SECTIONS[name](facts.document[name]))
        (shown,) = (block for block in one.blocks if hasattr(block, "rows"))
        assert len(shown.rows) == 4
        for row in shown.rows:
            assert row[0] in unescape(page)
            assert f"| {row[0]} |" in card
            assert row[0] in terminal
            score = row[-1]
            assert isinstance(score, Number)
            assert f"{score.written(3)}<small>{score.bounds}</small>" in page
            assert f"{score.written(4)} {score.bounds}" in card
            assert score.written(4) in terminal


def test_the_terminal_leaves_out_small_print_and_says_undefined_as_a_dash(facts: RunFacts) -> None:
    terminal = printed(tables.SECTIONS["malignant"](facts.document["malignant"]))
    assert terminal.startswith("Malignant: 11 of 34 (Melanoma)\nAUC 0.")
    assert "optimistic" not in terminal
    assert [line.split()[2] for line in terminal.splitlines() if line.startswith("predicted class")] == ["–"]
    document = facts.document["selective"] | {"target": {"accuracy": 0.99, "threshold": None}}
    assert "Target accuracy 99%: no confidence threshold reaches it on validation." in printed(
        tables.SECTIONS["selective"](document)
    )


def test_averaging_over_flips_is_shown_with_its_differences() -> None:
    one = {"a": 0.5, "b": 0.625, "difference": 0.125, "ci95": [0.0625, 0.25]}
    names = ("accuracy", "balanced_accuracy", "weighted_f1", "macro_f1", "weighted_auc", "loss")
    document = {"views": 4, "differences": dict.fromkeys(names, one)}
    lines = printed(tables.SECTIONS["tta"](document)).splitlines()
    assert lines[0].split("  ")[0] == "Mean over 4 flipped views"
    assert lines[1].split() == ["Accuracy", "0.5000", "0.6250", "0.1250", "[0.062,", "0.250]"]


def test_the_field_decides_what_the_intervals_resample(tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run")
    path = root / "results" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics["test"]["resampling_unit"] = "groups"
    write_json(path, metrics)
    facts = read_run(root)
    write_page(facts, tmp_path / "page.html")
    assert "intervals that resample lesions or patients" in (tmp_path / "page.html").read_text(
        encoding="utf-8"
    )
    assert not [text for text in limits(facts) if "too narrow" in text]


def test_subgroups_of_an_evaluation_are_on_the_page_and_the_card(tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run")
    plain = read_run(root)
    assert "(evaluate --by)" in subgroups.subgroups(plain.evaluated, plain.evaluated_missing).missing
    assert "vary with skin tone or age or sex is unknown" in " ".join(limits(plain))
    _, document = evaluate(plain.predictions, "test", by={"sex": ["f"] * 3 + ["m"] * 31})
    assert document["subgroups"]["sex"]["f"]["withheld"] == "3 images, fewer than 20"
    where = root / "results" / "evaluation" / "test"
    where.mkdir(parents=True)
    # As if the run had a gap that chance does not explain.
    gap = {"gap": 0.3, "ci95": [0.1, 0.5], "between": ["m", "m"]}
    document["gaps"]["sex"]["specificity"] = gap
    write_json(where / "metrics.json", document)
    found = read_run(root)
    write_page(found, tmp_path / "page.html")
    page, card = (tmp_path / "page.html").read_text(encoding="utf-8"), model_card(found, "x")
    drawn = page[page.index("Forest plot by sex: scores over the classes") :]
    for text in ("Balanced acc.", ">withheld<", ">31<"):
        assert text in drawn
    score = figure(document["subgroups"]["sex"]["m"]["weighted_f1"], 3)
    assert f"{score}<small>" in page[page.index("Scores by sex") :]
    for line in ("## Subgroups", "| f | 3 | – | – | – | – | – |", "* f: withheld (3 images, fewer than 20)"):
        assert line in card
    assert "Specificity differs by sex: 0.300 [0.100, 0.500] more for m than for m." in limits(found)
    assert "vary with skin tone or age is unknown" in " ".join(limits(found))
    # Scores of other predictions, such as averages over flips, are not those of the page.
    write_json(where / "metrics.json", document | {"n": 33})
    other = read_run(root)
    assert other.evaluated is None
    assert "other predictions" in subgroups.subgroups(None, other.evaluated_missing).missing


def test_of_very_many_classes_the_largest_are_drawn(facts: RunFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MAX_CLASSES_DRAWN", 2)
    text, roc, _ = curves.curves(facts).blocks
    assert text.text.endswith("Only the 2 largest of 3 classes are drawn.")
    assert [chart.name for chart in roc.charts] == ["Melanoma", "Melanocytic nevi"]


def test_curves_run_from_corner_to_corner(facts: RunFacts) -> None:
    known = facts.predictions
    assert known is not None
    assert known.probabilities is not None
    # The most probable melanoma is none: no threshold above it has a hit, nor a precision above 0.
    probabilities = known.probabilities.copy()
    probabilities[np.flatnonzero(known.true != 0)[0]] = [1, 0, 0]
    wrong = replace(facts, predictions=replace(known, probabilities=probabilities))
    for one in (facts, wrong):
        _, roc, precision_recall = curves.curves(one).blocks
        for chart in roc.charts:
            rate, sensitivity = chart.plot.keywords["rate"], chart.plot.keywords["sensitivity"]
            assert (rate[0], sensitivity[0], rate[-1], sensitivity[-1]) == (0, 0, 1, 1)
        for chart in precision_recall.charts:
            recall, precision = chart.plot.keywords["recall"], chart.plot.keywords["precision"]
            assert 0 < recall[0] <= recall[-1] == 1
            # One precision for each recall: no stroke up from 0, nor down from step to step.
            assert (np.diff(recall) > 0).all()
            assert (precision > 0).all()


def test_every_section_has_its_own_anchor_and_charts_their_own_title(facts: RunFacts) -> None:
    found = sections(facts, {})
    assert len({one.key for one in found}) == len(found)
    titles = [chart.title for one in found for block in one.blocks for chart in getattr(block, "charts", ())]
    assert len(titles) == len(set(titles)) == 2 * 3 + 6


def test_a_table_can_be_shown_with_fewer_columns() -> None:
    whole = table("t", ("Class", "a", "b"), [("x", 1, 2), ("y", 3, 4)])
    fewer = whole.only("b", "absent")
    assert [column.name for column in fewer.columns] == ["Class", "b"]
    assert fewer.rows == (("x", 2), ("y", 4))


def test_calibrated_views_are_not_shown_as_uncalibrated(facts: RunFacts) -> None:
    document = facts.document["calibration"] | {"temperature": 2.0, "before": None}
    lines = printed(tables.SECTIONS["calibration"](document)).splitlines()
    assert lines[0].endswith(" 2.000, fitted on validation, applied to each flipped view.")
    assert lines[1].split() == ["Calibration", "calibrated", "(T", "=", "2.00)"]
    assert "uncalibrated" not in "".join(lines)


def test_the_class_tables_fit_a_page_and_give_the_n_of_exact_intervals(facts: RunFacts) -> None:
    scored = dict(facts.document["per_class"])
    scored["Melanoma"] = scored["Melanoma"] | {
        "recall": 1.0,
        "ci95": scored["Melanoma"]["ci95"] | {"recall": [0.398, 1.0]},
        "exact_n": {"recall": 4},
    }
    changed = replace(
        facts, documents=facts.documents | {"test": dict(facts.document) | {"per_class": scored}}
    )
    _, decided, _, ranking = scores.classes(changed).blocks
    assert [column.name for column in decided.columns] == [
        *("Class", "Images", "F1, 0 to 1", "Precision", "Recall", "F1"),
    ]
    assert len(ranking.columns) == 7
    recall = next(row for row in decided.rows if row[0] == "Melanoma")[4]
    assert recall.bounds == "[0.398, 1.000] n=4"
    assert "with n: exact (Clopper–Pearson), from n images" in scores.scores(changed, {}).blocks[1].text


def test_one_source_alone_does_not_repeat_the_total(facts: RunFacts) -> None:
    blocks = {"clinic A": facts.document["blocks"]["clinic A"]}
    assert data.sources(blocks).missing == "the images have one source, clinic A"
    assert len(data.sources(facts.document["blocks"]).blocks[1].rows) == 2
