"""What each tracker wrote, read back with its own reader. A tracker that is not installed is skipped."""

import json
import os
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli import TrainingResult, train
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import EpochDone, EpochRecord, Event, Note, RunScored, RunStarted, Warned
from skinlesion_cli.common.extras import TRACKERS
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.settings_file import to_toml
from skinlesion_cli.data.images import read_image
from skinlesion_cli.tracking.follow import Follower
from skinlesion_cli.tracking.tracker import Run

# The libraries of others use what others deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

INSTALLED = [name for name, modules in TRACKERS.items() if all(find_spec(one) for one in modules.split())]
TINY: dict[str, Any] = {"model_arch": "test_resnet", "img_size": 64, "pretrained": False, "batch_size": 8}
TINY |= {"seed": 3, "device": "cpu", "precision": "fp32", "num_workers": 0, "learning_rate": 0.01}
PICTURES = {f"{name}_confusion" for name in ("training", "validation", "test")} | {
    "class_weights",
    "learning_curves",
}


@dataclass(frozen=True)
class Recorded:
    """A run of two epochs, resumed for a third one, and its events."""

    result: TrainingResult
    first: TrainingResult
    events: list[Event]
    late: "Recorder"

    @property
    def folder(self) -> Path:
        return self.result.folder / "tracking"

    @property
    def id(self) -> str:
        return str(json.loads((self.folder / "state.json").read_text())["id"])

    def figures(self) -> dict[str, dict[int, float]]:
        """Each figure by epoch, from history.csv's rows and metrics.json's documents."""
        found: dict[str, dict[int, float]] = {}
        for row in self.result.rows():
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    found.setdefault(name, {})[row["epoch"]] = float(value)
        for epochs, run in ((2, self.first), (3, self.result)):
            found.setdefault("best_epoch", {})[epochs] = run.best_epoch
            for split, document in run.documents.items():
                for score in ("accuracy", "weighted_f1", "weighted_auc", "loss"):
                    low, high = document["ci95"][score]
                    for end, value in (("", document[score]), ("_low", low), ("_high", high)):
                        found.setdefault(f"{split}/{score}{end}", {})[epochs] = value
        return found


class Recorder:
    """A tracker of one's own, which joins when the run is resumed."""

    view = "in memory"

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.finished: bool | None = None

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        if "val_loss" in figures:
            self.epochs.append(epoch)

    def picture(self, name: str, file: Path, epoch: int) -> None:
        assert file.is_file(), (name, epoch)

    def end(self, *, finished: bool) -> None:
        self.finished = finished


class Broken(Recorder):
    """Fails in the middle."""

    def log(self, figures: Mapping[str, float], epoch: int) -> None:  # noqa: ARG002
        raise OSError("the disk is full\nreally")


@pytest.fixture(scope="module")
def recorded(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    out = tmp_path_factory.mktemp("tracked") / "run"
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in [one for one in os.environ if one.startswith(("WANDB_", "MLFLOW_", "TRACKIO_"))]:
            patch.delenv(name)
        # Read when it is imported, for the first time here.
        patch.setenv("TRACKIO_DIR", str(out.parent / "trackio"))
        first = train(data_root=data, out=out, epochs=2, track=INSTALLED, on_event=events.append, **TINY)
        late, broken = Recorder(), Broken()
        with Follower({"late": lambda _: late, "broken": lambda _: broken}, events.append) as tell:
            again = train(
                data_root=data, out=out, epochs=3, track=INSTALLED, on_event=tell, resume=True, **TINY
            )
        yield Recorded(again, first, events, late)


def test_a_tracked_run_computes_what_any_run_does(recorded: Recorded, data: Path, tmp_path: Path) -> None:
    plain = train(data_root=data, out=tmp_path, epochs=2, **TINY)
    assert plain.rows() == recorded.first.rows() == recorded.result.rows()[:2]
    assert not (tmp_path / "tracking").exists()


def test_the_events_carry_all_that_a_tracker_needs(recorded: Recorded) -> None:
    assert recorded.late.epochs == [1, 2, 3]
    assert recorded.late.finished
    scored = [one for one in recorded.events if isinstance(one, RunScored)]
    assert scored[-1].documents == recorded.result.documents
    assert {path.stem for path in scored[-1].pictures} == PICTURES
    notes = [one.text for one in recorded.events if isinstance(one, Note) and "tracking with" in one.text]
    assert len(notes) == 2 * len(INSTALLED) + 2


def test_a_tracker_that_fails_is_warned_of_once(recorded: Recorded) -> None:
    warned = [one.text for one in recorded.events if isinstance(one, Warned) and "tracking" in one.text]
    assert warned == ["tracking with broken stopped, training continues: the disk is full really"]
    assert len([one for one in recorded.events if isinstance(one, EpochDone)]) == 3


def test_tensorboard(recorded: Recorded) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    found = EventAccumulator(str(recorded.folder / "tensorboard"), {"images": 0, "scalars": 0}).Reload()
    names = found.Tags()["scalars"]
    read = {name: {one.step: one.value for one in found.Scalars(name)} for name in names}
    # It stores float32.
    for name, values in recorded.figures().items():
        assert read[name] == pytest.approx(values, rel=1e-6), name
        assert len(found.Scalars(name)) == len(values), name
    assert all(speed > 0 for speed in read["images_per_second"].values())
    assert set(found.Tags()["images"]) == PICTURES
    stored = found.Images("test_confusion")[-1]
    with Image.open(recorded.result.folder / "results" / "test_confusion.png") as drawn:
        assert (stored.width, stored.height) == drawn.size
    started = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = plugin_data_pb2.HParamsPluginData.FromString(started).session_start_info.hparams
    assert settings["model_arch"].string_value == "test_resnet"
    assert settings["learning_rate"].number_value == 0.01
    assert settings["pretrained"].bool_value is False
    assert "track" not in settings


def test_mlflow(recorded: Recorded) -> None:
    if "mlflow" not in INSTALLED:
        pytest.skip("mlflow is not installed")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{recorded.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("skinlesion")
    (run,) = client.search_runs([experiment.experiment_id])
    for name, values in recorded.figures().items():
        history = client.get_metric_history(run.info.run_id, name)
        assert {one.step: one.value for one in history} == values, name
        assert len(history) == len(values)
    assert run.data.params["learning_rate"] == "0.01"
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    pictures = client.list_artifacts(run.info.run_id, "pictures")
    assert {Path(one.path).stem for one in pictures} == PICTURES
    copy = client.download_artifacts(run.info.run_id, "pictures/test_confusion.png")
    original = recorded.result.folder / "results" / "test_confusion.png"
    assert Path(copy).read_bytes() == original.read_bytes()


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of an offline run: frames of LevelDB's log format, each with one of wandb's messages."""
    from wandb.proto import wandb_internal_pb2

    content, place, parts = file.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while place + 7 <= len(content):
        room = 32768 - place % 32768
        if room < 7:
            place += room
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        # Whole, or the last part of one.
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def test_wandb(recorded: Recorded) -> None:
    pytest.importorskip("wandb")
    files = sorted((recorded.folder / "wandb").glob("offline-run-*/run-*.wandb"))
    # A resumed offline run has a second folder with the same id, for `wandb sync`.
    assert [file.stem for file in files] == [f"run-{recorded.id}"] * 2
    read: dict[str, dict[int, float]] = {}
    config: dict[str, Any] = {}
    for file in files:
        for record in wandb_records(file):
            if record.HasField("run"):
                config |= {one.key: json.loads(one.value_json) for one in record.run.config.update}
            items = record.history.item
            row = {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in items}
            for name, value in row.items():
                read.setdefault(name, {})[row["_step"]] = value
    for name, values in recorded.figures().items():
        assert read[name] == values, name
    assert config["model_arch"] == "test_resnet"
    for name in PICTURES:
        assert (files[-1].parent / "files" / read[f"{name}/path"][3]).is_file()


def test_trackio(recorded: Recorded) -> None:
    trackio = pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = trackio.Api().runs("skinlesion")
    assert run.name == f"run-{recorded.id}"
    assert run.config["learning_rate"] == 0.01
    read: dict[str, dict[int, float]] = {}
    for row in SQLiteStorage.get_logs("skinlesion", run.name):
        for name, value in row.items():
            read.setdefault(name, {})[row["step"]] = value
    for name, values in recorded.figures().items():
        assert read[name] == pytest.approx(values, rel=1e-12), name
    assert read.keys() >= PICTURES
    stored = (Path(os.environ["TRACKIO_DIR"]) / "media").rglob("*.png")
    original = recorded.result.folder / "results" / "test_confusion.png"
    with Image.open(original) as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    assert any(np.array_equal(pixels, np.asarray(read_image(file))) for file in stored)


def test_a_missing_package_is_named_before_any_work(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(InputError, match=r"^trackio is needed for --track trackio: pip install trackio$"):
        train(data_root=data, out=tmp_path / "run", track="trackio", **TINY)
    assert not (tmp_path / "run").exists()


def test_mlflow_on_a_server_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    from skinlesion_cli.common.extras import require_trackers

    for name in ("mlflow", "sqlalchemy", "alembic"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="pip install mlflow sqlalchemy alembic"):
        require_trackers("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    with pytest.raises(InputError, match=r"pip install mlflow$"):
        require_trackers("mlflow")


def test_the_setting_takes_names_from_every_source() -> None:
    assert Settings().track is None
    assert Settings(track=[]).track is None
    assert Settings(track="mlflow").track == "mlflow"
    assert Settings(track=["wandb", "mlflow", "wandb"]).track == "wandb,mlflow"
    assert Settings(track="wandb, mlflow").track == "wandb,mlflow"
    assert 'track = "wandb,mlflow"' in to_toml(Settings(track="wandb,mlflow"))
    with pytest.raises(
        InputError, match="'mlflow,neptune' is not one of tensorboard, mlflow, wandb, trackio"
    ):
        Settings(track="mlflow,neptune")


def test_an_unknown_tracker_is_refused_by_the_command(refused: Any) -> None:
    line = refused("train", "--data", "absent", "--track", "mlflow", "--track", "neptune")
    assert "--track: 'mlflow,neptune' is not one of tensorboard, mlflow, wandb, trackio" in line


def test_a_run_names_what_trackers_cannot_show(tmp_path: Path) -> None:
    told: list[Event] = []
    epoch = EpochRecord(1, 1.0, 0.5, 1.0, 0.5, 0.5, 3e-4, best=True)
    with Follower({"mine": lambda _: Recorder()}, told.append) as tell:
        tell(RunStarted(tmp_path, Settings(), (), resumed=False))
        tell(RunScored((epoch,), {}, (tmp_path / "a.svg", tmp_path / "b.svg")))
    warned = [one.text for one in told if isinstance(one, Warned)]
    assert warned == ["trackers get no a.svg, only .png: use --figures png"]


def test_a_folder_that_cannot_be_written_ends_the_tracking_alone(tmp_path: Path) -> None:
    told: list[Event] = []
    (tmp_path / "tracking").write_text("a file")
    with Follower({"mine": lambda _: Recorder()}, told.append) as tell:
        tell(RunStarted(tmp_path, Settings(), (), resumed=False))
    (warning,) = [one.text for one in told if isinstance(one, Warned)]
    assert warning.startswith("tracking with mine stopped, training continues: ")


def test_the_tracker_on_the_page_runs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parents[2] / "docs" / "tracking.md"
    (block,) = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "data").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, str(page), "exec"), {})
    written = (tmp_path / "tracked/tracking/lines.jsonl").read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    assert {"epoch", "train_loss", "learning_rate", "images_per_second"} <= lines[0].keys()
    assert "test/weighted_f1_low" in lines[1]
    assert len(lines) == 2 + len(PICTURES)
    assert capsys.readouterr().out.startswith("tracked ")


def test_an_interrupted_run_is_not_finished(tmp_path: Path) -> None:
    mine, seen = Recorder(), list[Run]()

    def open_mine(run: Run) -> Recorder:
        seen.append(run)
        return mine

    def interrupted() -> None:
        with Follower({"mine": open_mine}) as tell:
            tell(RunStarted(tmp_path, Settings(epochs=np.int64(3)), (), resumed=False))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert mine.finished is False
    assert (seen[0].folder, seen[0].name, seen[0].resumed) == (tmp_path / "tracking", tmp_path.name, False)
    assert seen[0].settings["epochs"] == 3
    assert "init_weights" not in seen[0].settings
