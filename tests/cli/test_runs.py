"""Commands that take the folder of a run where they expect a model, its data or its predictions."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import skinlesion_cli
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.manifest import ManifestRow, write_manifest
from tests.conftest import CLASSES, Run, draw_data_set
from tests.support.finished_run import write_finished_run


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, in which a test may write."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_run_is_scored_with_its_own_data_into_its_own_folder(
    cli_run: Run, run_folder: Path, data: Path, tmp_path: Path
) -> None:
    done = cli_run("evaluate", "--run", "run", "--json")
    written = run_folder / "results" / "evaluation" / "test" / "metrics.json"
    document = json.loads(written.read_text(encoding="utf-8"))
    assert document == done.json()
    assert document["checkpoint"] == "../../../checkpoints/best_model.pth"
    assert not (tmp_path / "results").exists()
    # The same again, by the file: the same folder. It may be replaced, also after the run was moved.
    moved = run_folder.rename(tmp_path / "moved")
    cli_run("evaluate", "--checkpoint", moved / "checkpoints" / "best_model.pth", "--data", data)
    assert (
        json.loads((moved / "results/evaluation/test/metrics.json").read_text(encoding="utf-8")) == document
    )


def test_scores_of_another_model_are_not_overwritten(
    cli_run: Run, refused: Callable[..., str], run_folder: Path, data: Path, tmp_path: Path
) -> None:
    shutil.copy(run_folder / "checkpoints" / "best_model.pth", tmp_path / "other.pth")
    cli_run("evaluate", "--run", "run", "--out", "scores")
    before = (tmp_path / "scores" / "metrics.json").read_bytes()
    options = ["--data", data, "--out", "scores"]
    line = refused("evaluate", "--checkpoint", "other.pth", *options)
    assert line == (
        "error: scores contains the scores of run/checkpoints/best_model.pth: remove it, or choose another "
        "folder with --out"
    )
    shutil.copy(tmp_path / "scores" / "predictions.csv", tmp_path / "mine.csv")
    predictions = ["--predictions", "mine.csv", "--out", "scores"]
    assert "contains the scores of run/checkpoints/best_model.pth" in refused("evaluate", *predictions)
    line = refused("evaluate", "--run", "run", "--out", "run/results")
    assert "run/results contains the scores of a training run" in line
    assert (tmp_path / "scores" / "metrics.json").read_bytes() == before


def test_a_refused_evaluation_leaves_no_folder_in_the_run(
    refused: Callable[..., str], run_folder: Path, tmp_path: Path
) -> None:
    other = draw_data_set(tmp_path / "other", {"test": (1, 1)})
    (other / "test" / CLASSES[0]).rename(other / "test" / "unknown")
    refused("evaluate", "--run", "run", "--data", other)
    assert not (run_folder / "results" / "evaluation").exists()


def test_a_run_is_taken_where_a_model_is_expected(
    cli_run: Run, run_folder: Path, picture: Path, checkpoint: Path
) -> None:
    expected = cli_run("predict", picture, "--checkpoint", checkpoint, "--json").json()
    assert cli_run("predict", picture, "--run", "run", "--json").json() == expected
    named = {"SKINLESION_CHECKPOINT": "run"}
    assert cli_run("predict", picture, "--json", env=named).json() == expected
    for folder in (run_folder, run_folder / "checkpoints"):
        assert skinlesion_cli.load_predictor(folder).predict(picture).label == expected[0]["class"]


def test_heat_maps_of_a_run_need_no_path_of_its_data(cli_run: Run, run_folder: Path) -> None:
    done = cli_run("gradcam", "--run", run_folder, "--split", "test", "--limit", 2, "--out", "maps/")
    assert len(done.stdout.splitlines()) == 2


def test_a_run_and_a_model_exclude_each_other(
    refused: Callable[..., str], picture: Path, tmp_path: Path
) -> None:
    assert "--run and --checkpoint exclude each other" in refused(
        "predict", picture, "--run", "a", "--checkpoint", "b.pth"
    )
    (tmp_path / "empty").mkdir()
    line = refused("predict", picture, "--run", "empty")
    assert "there is no file empty/checkpoints/best_model.pth: train a model first" in line


def test_two_runs_are_compared_on_a_split(cli_run: Run, refused: Callable[..., str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_finished_run(tmp_path / name)
    by_run = cli_run("compare", "a", "b", "--json").json()
    files = [f"{name}/results/test_predictions.csv" for name in ("a", "b")]
    assert cli_run("compare", *files, "--json").json() == by_run
    assert by_run["n"] == 34
    assert cli_run("compare", "a", "b", "--split", "val", "--json").json()["n"] == 28
    assert "there is no a/results/train_predictions.csv" in refused("compare", "a", "b", "--split", "train")


def test_groups_of_the_runs_data_are_resampled(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run = write_finished_run(tmp_path / "run", data_root=data)
    predictions = skinlesion_cli.evaluate(predictions=run / "results/test_predictions.csv").predictions
    rows = []
    for number, image in enumerate(predictions.images):
        name, _, file = image.partition("/")
        rows.append(ManifestRow("test", name, file, f"patient {number // 2}", ""))
    data.mkdir()
    write_manifest(data, rows)
    assert skinlesion_cli.compare(run, run).to_dict()["resampling_unit"] == "groups"
    alone = skinlesion_cli.compare(predictions, predictions).to_dict()
    assert alone["resampling_unit"] == "images"
    with pytest.raises(InputError, match=r"there is no .*train_predictions\.csv"):
        skinlesion_cli.compare(run, run, split="train")
