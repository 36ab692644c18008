"""Everything that takes a data set takes a table of it."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from skinlesion_cli import audit, evaluate, train, weights
from skinlesion_cli.api.explain_files import photographs_of
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Event, Note
from skinlesion_cli.data.splits import SPLITS, read_split, split_root
from skinlesion_cli.report.facts import read_run
from skinlesion_cli.report.mistakes import draw_mistakes, most_confident
from tests.support.runs import tiny


@dataclass(frozen=True)
class Trained:
    """A run on folders, and one on a table elsewhere that names the same images."""

    folders: Path
    tables: Path
    table: Path
    events: list[Event]


def write(path: Path, data: Path, relabelled: dict[str, str] | None = None) -> Path:
    """A table of a data set, in another order, with a column of our own."""
    rows = []
    for name in reversed(SPLITS):
        for file in reversed(read_split(data, name).files):
            image = f"{name}/{file.as_posix()}"
            rows.append((image, (relabelled or {}).get(image, file.parts[0]), name, len(image)))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "label", "split", "length"), *rows])
    return path


@pytest.fixture(scope="module")
def trained_twice(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    root = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        yield train_twice(root, data)


def train_twice(root: Path, data: Path) -> Trained:
    table, events = write(root / "t.csv", data), list[Event]()
    train(tiny(data, epochs=1, device="cpu"), out=root / "folders")
    settings = tiny(table, epochs=1, device="cpu", images_root=data, cache="ram")
    train(settings, out=root / "tables", on_event=events.append)
    return Trained(root / "folders", root / "tables", table, events)


def test_a_table_trains_to_the_same_weights_as_folders(trained_twice: Trained) -> None:
    name = "checkpoints/last.pth"
    folders, tables = (
        torch.load(root / name, weights_only=True) for root in (trained_twice.folders, trained_twice.tables)
    )
    assert folders["model"].keys() == tables["model"].keys()
    assert all(torch.equal(value, tables["model"][key]) for key, value in folders["model"].items())
    assert folders["classes"] == tables["classes"]
    name = "results/history.csv"
    assert (trained_twice.tables / name).read_bytes() == (trained_twice.folders / name).read_bytes()
    with (trained_twice.tables / "results" / "test_predictions.csv").open(encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert first["image"].split("/")[:2] == ["test", first["y_true"]]


def test_a_run_is_resumed_on_the_same_labels_only(trained_twice: Trained, data: Path) -> None:
    settings = tiny(trained_twice.table, images_root=data, epochs=2, device="cpu")
    one, other = (read_split(data, "train").files[index].as_posix() for index in (0, -1))
    swapped = {f"train/{one}": other.partition("/")[0], f"train/{other}": one.partition("/")[0]}
    table = write(trained_twice.table.with_name("swapped.csv"), data, swapped)
    changed = r"swapped.csv has changed since the run began \(train: 2 added, 2 removed\)"
    with pytest.raises(InputError, match=changed):
        train(settings.model_copy(update={"data_root": table}), out=trained_twice.tables, resume=True)


def test_it_is_audited_scored_and_counted(trained_twice: Trained, data: Path, tmp_path: Path) -> None:
    table, model = trained_twice.table, trained_twice.tables / "checkpoints" / "best_model.pth"
    command = f"skinlesion data check {table} --images {data}"
    told = [event.text for event in trained_twice.events if isinstance(event, Note)]
    assert f"{table} has not been checked for leaks; run: {command}" in told
    found, expected = audit(table, images=data, num_workers=0), audit(data, num_workers=0)
    # In the same order too.
    assert json.dumps(found.to_dict()) == json.dumps(expected.to_dict())
    scored, of_folders = evaluate(model, data=table, images=data), evaluate(model, data=data)
    assert scored.to_dict()["confusion_matrix"] == of_folders.to_dict()["confusion_matrix"]
    assert scored.to_dict()["loss"] == of_folders.to_dict()["loss"]
    explained = photographs_of(table, "test", images_root=data, limit=5)
    assert explained == photographs_of(data, "test", limit=5)
    assert weights(data=table, images=data).to_dict() == weights(data=data).to_dict()
    with pytest.raises(InputError, match=f"--images {data} needs a table"):
        evaluate(model, data=data, images=data)
    (tmp_path / "t.csv").write_text("file,label\ntrain/a.jpg,a\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"'train/a.jpg' is not a file in"):
        audit(tmp_path / "t.csv")


def test_a_report_finds_the_table_and_its_images(trained_twice: Trained, data: Path) -> None:
    facts = read_run(trained_twice.tables)
    assert (facts.data_root, facts.images_root) == (trained_twice.table, data)
    assert facts.check is not None
    assert not facts.check.outdated
    assert facts.predictions is not None
    mistakes = most_confident(facts.predictions)[:1]
    folder = split_root(facts.data_root, facts.split, facts.images_root)
    checkpoint = trained_twice.tables / "checkpoints" / "best_model.pth"
    assert list(draw_mistakes(mistakes, checkpoint, folder, device="cpu")) == [mistakes[0].image]
