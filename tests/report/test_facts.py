import json
import shutil
from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.curation.check_log import remember_check
from skinlesion_cli.report.facts import read_run
from skinlesion_cli.report.sections.limits import limits
from tests.support.finished_run import CLASSES, COUNTS, write_finished_run, write_json


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finished_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(finished, tmp_path / "run")


def test_a_run_is_read_and_not_changed(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    facts = read_run(run)
    assert (facts.split, facts.best_epoch, facts.epochs) == ("test", 2, 3)
    assert facts.classes == CLASSES
    assert facts.counts == dict(zip(CLASSES, COUNTS["train"], strict=True))
    assert [(one.epoch, one.train_loss, one.best) for one in facts.history][1:] == [
        (2, 1.0, True),
        (3, 2.0 / 3, False),
    ]
    assert facts.settings["epochs"] == 3
    assert facts.environment["versions"] == {"torch": "2.6.0"}
    assert facts.predictions is not None
    assert len(facts.predictions) == sum(COUNTS["test"])
    assert (facts.data_root, facts.check, facts.leaking) == (None, None, False)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_verdict_on_the_data_is_that_of_the_last_check(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    assert read_run(run, data).check is None
    assert limits(read_run(run, data))[0].endswith("the data were not checked for leaks.")
    remember_check(data, "3 of 9 test images have a sibling in train.", leaking=True)
    facts = read_run(run, data)
    assert facts.check is not None
    assert facts.leaking is True
    assert facts.check.verdict == "3 of 9 test images have a sibling in train."
    assert limits(facts)[0].startswith("The data leak between the splits, so the scores are too high: 3 of 9")
    (data / "new.jpg").touch()
    changed = read_run(run, data)
    assert changed.check is not None
    assert (changed.check.outdated, changed.leaking) == (True, False)
    assert limits(changed)[0].endswith("the data were not checked for leaks.")


def test_limits_are_read_off_the_run(run: Path) -> None:
    found = "\n".join(limits(read_run(run)))
    assert "Fewer than 30 test images, so the scores are uncertain: Vascular lesions (5)" in found
    assert "The accuracy differs between the sources of the images: <i>B</i> 0.500, clinic A 0.900." in found
    assert "expected calibration error" in found
    assert "with several images of one lesion they are too narrow" in found


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("metrics.json", None, "give the folder that skinlesion train wrote"),
        ("metrics.json", "{", "cannot read .*metrics.json"),
        ("metrics.json", '{"split": "test", "n": 3}', "is not what skinlesion train writes"),
        ("metrics.json", "[]", "is not what skinlesion train writes"),
        ("metrics.json", '{"test": {"n": 3, "classes": []}}', "no complete scores of train, val or test"),
        ("settings.toml", "epochs = ", "cannot read .*settings.toml"),
        ("history.csv", "epoch,train_loss\n1,x\n", "cannot read .*history.csv"),
        ("environment.json", "no", "cannot read .*environment.json"),
        ("test_predictions.csv", "image\n", "no column y_true"),
        ("test_predictions.csv", "image,y_true,y_pred\na,b,b\n", "disagree: they are from different runs"),
    ],
)
def test_what_is_damaged_is_named(run: Path, name: str, content: str | None, reason: str) -> None:
    path = run / "results" / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_run(run)


def test_a_split_that_is_no_document_is_left_out(run: Path) -> None:
    path = run / "results" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, metrics | {"train": {"n": 3}})
    assert set(read_run(run).documents) == {"val", "test"}
