import json
from importlib import metadata
from pathlib import Path

import pytest

from skinlesion_cli.training.environment import environment, git_commit, record
from tests.support.processes import run_to_end


def test_the_commit_is_the_repositorys(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        run_to_end(["git", *command], cwd=tmp_path)
    told = run_to_end(["git", "log", "-1", "--format=%H"], cwd=tmp_path)
    assert git_commit(tmp_path) == told.stdout.strip()


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) is None


def test_resumptions_are_added_and_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    first = environment(device="cpu, fp32", command=["skinlesion", "train"], seed=7, contents={})
    assert first["versions"]["numpy"] == metadata.version("numpy")
    assert first["versions"]["torch"].startswith(metadata.version("torch").partition("+")[0])
    record(path, first, resumed=False)
    for seed in (8, 9):
        record(path, first | {"seed": seed}, resumed=True)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [one["seed"] for one in document.pop("resumed")] == [8, 9]
    assert document == first
    record(path, first, resumed=False)
    assert json.loads(path.read_text(encoding="utf-8"))["resumed"] == []


def test_a_record_that_was_lost_begins_with_the_resumption(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_text("[1", encoding="utf-8")
    record(path, {"seed": 1}, resumed=True)
    assert json.loads(path.read_text(encoding="utf-8")) == {"resumed": [{"seed": 1}]}
