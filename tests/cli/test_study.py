import csv
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, Run, draw_data_set
from tests.support.processes import started, wait_for

ONE_EPOCH = [*TINY, "--epochs", "1", "--num-workers", "0", "--cache", "off"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data_set(tmp_path_factory.mktemp("small") / "data", {"train": (6, 6), "val": (4, 4)})


@pytest.fixture(scope="module")
def finished(small: Path, run_in: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two recipes on two folds. Read only."""
    folder = tmp_path_factory.mktemp("study")
    recipes = ["--recipe", "paper", "--recipe", "long-tail"]
    done = run_in(folder, "study", "--data", small, *recipes, "--folds", "2", *ONE_EPOCH)
    (folder / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    return folder / "study"


def test_each_run_is_an_ordinary_run(finished: Path) -> None:
    for method in ("paper", "long-tail"):
        for fold in (1, 2):
            run = finished / method / f"fold-{fold}"
            assert (run / "checkpoints" / "best_model.pth").is_file()
            assert f'recipe = "{method}"' in (run / "results" / "settings.toml").read_text(encoding="utf-8")


def test_the_table_is_in_three_files(finished: Path) -> None:
    document = json.loads((finished / "study.json").read_text(encoding="utf-8"))
    assert document["design"] == "folds"
    assert document["n"] == 20
    assert document["runs"] == ["fold-1", "fold-2"]
    assert list(document["methods"]) == ["paper", "long-tail"]
    assert list(document["differences"]) == ["long-tail"]
    table = (finished / "study.csv").read_text(encoding="utf-8")
    rows = {(row["method"], row["metric"]): row for row in csv.DictReader(table.splitlines())}
    value = document["methods"]["long-tail"]["macro_f1"]["value"]
    assert float(rows["long-tail", "macro_f1"]["value"]) == value
    page = (finished / "study.html").read_text(encoding="utf-8")
    assert "Differences from paper" in page
    assert "<svg" in page
    assert (finished / "forest.png").stat().st_size > 10_000
    shown = (finished.parent / "stdout.txt").read_text(encoding="utf-8")
    assert f"{value:.4f}" in shown
    assert "2 methods, 2 folds, 20 pooled held-out images; paired percentile bootstrap" in shown


def test_its_folds_can_be_trained_one_by_one(
    small: Path, finished: Path, run_in: Run, tmp_path: Path
) -> None:
    arguments = ["study", "--data", small, "--recipe", "paper", "--recipe", "long-tail", "--folds", "2"]
    planned = run_in(tmp_path, *arguments, *ONE_EPOCH, "--dry-run").stdout.splitlines()
    assert len(planned) == 4
    assert [shlex.split(line)[-3] for line in planned] == [
        "study/paper/fold-1",
        "study/long-tail/fold-1",
        "study/paper/fold-2",
        "study/long-tail/fold-2",
    ]
    assert not (tmp_path / "study" / "paper").exists()
    assert run_in(tmp_path, *arguments, *ONE_EPOCH, "--dry-run", "--part", "2/4").stdout == planned[1] + "\n"
    run_in(tmp_path, *shlex.split(planned[0])[1:])
    metrics = Path("paper", "fold-1", "results", "metrics.json")
    assert (tmp_path / "study" / metrics).read_bytes() == (finished / metrics).read_bytes()


@pytest.mark.slow
def test_a_study_that_is_killed_five_times_ends_with_the_same_table(
    small: Path, finished: Path, command_environment: dict[str, str], tmp_path: Path, run_in: Run
) -> None:
    arguments = ["study", "--data", str(small), "--recipe", "paper", "--recipe", "long-tail", "--folds", "2"]
    arguments += ONE_EPOCH
    command = [sys.executable, "-m", "skinlesion_cli", *arguments]
    moments = [
        "study/folds/1.csv",
        "study/paper/fold-1/checkpoints/last.pth",
        "study/long-tail/fold-1/checkpoints/best_model.pth",
        "study/paper/fold-2/results/history.csv",
        "study/long-tail/fold-2/results/val_predictions.csv",
    ]
    for moment in moments:
        with started(command, cwd=tmp_path, env=command_environment) as process:
            wait_for((tmp_path / moment).exists)
            process.kill()
            process.wait()
    run_in(tmp_path, *arguments)
    assert (tmp_path / "study" / "study.json").read_bytes() == (finished / "study.json").read_bytes()


def test_wrong_input_is_refused(refused: Callable[..., str], small: Path) -> None:
    base = ["study", "--data", small, "--recipe", "paper"]
    assert "needs either --folds K or --seeds K" in refused(*base)
    assert "needs either --folds K or --seeds K" in refused(*base, "--folds", 2, "--seeds", 2)
    assert "name at least one method" in refused("study", "--data", small, "--folds", 2)
    assert "--part: '0/2' is not I/N" in refused(*base, "--folds", 2, "--part", "0/2")
    assert "--recipe: 'papre' is not one of" in refused("study", "--recipe", "papre", "--folds", 2)
    refused_run = refused(*base, "--folds", 99)
    assert "a split needs at least 99" in refused_run
