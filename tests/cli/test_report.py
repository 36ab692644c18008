import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path

from skinlesion_cli.metrics.predictions import read_predictions
from tests.conftest import Run
from tests.support.finished_run import write_finished_run


def test_a_run_becomes_a_page_with_pictures_and_a_card(run_in: Run, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    predictions = read_predictions(run / "results" / "test_predictions.csv")
    assert (predictions.predicted != predictions.true).any()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = run_in(tmp_path, "report", "run", "--out", "out/page.html", "--title", "Mine & yours")
    assert done.stdout.splitlines() == ["page: out/page.html", "model card: out/MODEL_CARD.md"]
    page = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    mistakes = int((predictions.predicted != predictions.true).sum())
    assert page.count('src="data:image/jpeg;base64,') == 2 * min(mistakes, 12)
    assert "<h1>Mine &amp; yours</h1>" in page
    assert (tmp_path / "out" / "MODEL_CARD.md").read_text(encoding="utf-8").startswith("# Model card: Mine")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_without_pictures_or_data_the_page_says_so(run_in: Run, tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run")
    done = run_in(root, "report")
    assert "no photographs of errors: The data set's folder was not found" in done.stderr
    assert "The data set's folder was not found" in unescape(
        (root / "report.html").read_text(encoding="utf-8")
    )
    # Made anew over its own card, which nobody edited.
    run_in(root, "report", "--no-images", "--card", "MODEL_CARD.md")
    page = (root / "report.html").read_text(encoding="utf-8")
    assert "Photographs were turned off with --no-images." in page
    assert "data:image" not in page.replace("img-src data:", "")


def test_wrong_input_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "there is no absent/results/metrics.json: give the folder" in refused("report", "absent")
    root = write_finished_run(tmp_path / "run")
    metrics = (root / "results" / "metrics.json").read_bytes()
    line = refused("report", "run", "--out", "run/results/metrics.json")
    assert "the name must end in .html" in line
    assert (root / "results" / "metrics.json").read_bytes() == metrics
    (tmp_path / "MODEL_CARD.md").write_text("# Written by hand\n", encoding="utf-8")
    assert "edited by hand: choose another file with --card" in refused("report", "run")
    assert not (tmp_path / "report.html").exists()
