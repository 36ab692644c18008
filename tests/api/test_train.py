"""`train` as a function: quiet, stoppable, and sparing with images and networks."""

import json
import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules.module import register_module_module_registration_hook

from skinlesion_cli import TrainingResult, train
from skinlesion_cli.common.errors import InputError, InterruptedRunError
from skinlesion_cli.common.events import EpochDone, Event, Note, StepsDone, ignore
from skinlesion_cli.common.settings import Settings
from tests.support.opened import opened_below
from tests.support.runs import tiny

RUN: dict[str, Any] = {"model_arch": "mobilevitv2_050", "img_size": 64, "pretrained": False, "batch_size": 8}
RUN |= {"epochs": 2, "seed": 3, "device": "cpu", "precision": "fp32"}


@dataclass(frozen=True)
class Watched:
    """A run, and what was seen of it from outside."""

    result: TrainingResult
    events: list[Event]
    opened: Counter[Path]
    opened_before_first_step: Counter[Path]
    networks: int


@pytest.fixture(scope="module")
def watched(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    out = tmp_path_factory.mktemp("run")
    events: list[Event] = []
    before: Counter[Path] = Counter()
    networks: list[object] = []

    def registered(module: torch.nn.Module, name: str, _: object) -> None:
        if name == "head":
            networks.append(module)

    def look(event: Event) -> None:
        events.append(event)
        if isinstance(event, Note) and "not been checked for leaks" in event.text:
            before.update(opened)

    hook = register_module_module_registration_hook(registered)
    try:
        # Worker processes open the training images, so that only this process's own opening is seen.
        with opened_below(data) as opened:
            result = train(data_root=data, out=out, on_event=look, cache="ram", num_workers=2, **RUN)
    finally:
        hook.remove()
    return Watched(result, events, opened, before, len(networks))


def images(data: Path, split: str) -> list[Path]:
    return sorted((data / split).glob("*/*.jpg"))


def test_each_image_is_opened_once_before_the_first_step(watched: Watched, data: Path) -> None:
    every = [path for split in ("train", "val", "test") for path in images(data, split)]
    assert watched.opened_before_first_step == Counter(every)


def test_validation_is_decoded_once_in_a_run(watched: Watched, data: Path) -> None:
    assert len([event for event in watched.events if isinstance(event, EpochDone)]) == 2
    # Once by the look before the first step, and once for all validations, the calibration and the scores.
    assert {watched.opened[path] for path in images(data, "val")} == {2}
    assert {watched.opened[path] for path in images(data, "test")} == {2}


def test_one_network_is_built(watched: Watched) -> None:
    assert watched.networks == 1


def test_the_result_is_that_of_the_files(watched: Watched) -> None:
    result = watched.result
    metrics = json.loads((result.folder / "results" / "metrics.json").read_text(encoding="utf-8"))
    stored = torch.load(result.checkpoint, weights_only=True)
    of_run = {"best_epoch": result.best_epoch, "epochs": 2, "false_alarm_rate": stored["false_alarm_rate"]}
    assert metrics == of_run | result.documents
    assert 0 < stored["false_alarm_rate"] < 0.1
    assert stored["epoch"] == result.best_epoch
    document = result.to_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["splits"].keys() == {"train", "val", "test"}
    assert [row["epoch"] for row in result.rows()] == [1, 2]
    assert document["history"] == result.rows()
    best = max(result.rows(), key=lambda row: (row["val_weighted_f1"], -row["epoch"]))
    assert best["epoch"] == result.best_epoch
    assert result.documents["val"]["weighted_f1"] == best["val_weighted_f1"]


def test_a_stop_ends_it_after_the_step_and_resume_continues(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    settings = tiny(data, epochs=1)

    sent: list[Event] = []

    def interrupt(event: Event) -> None:
        # Once: a second Ctrl-C would end it at once.
        if isinstance(event, StepsDone) and not sent:
            sent.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRunError, match="stopped; ") as stopped:
        train(settings, out=tmp_path, epoch_size_mult=200, on_event=interrupt)
    assert stopped.value.exit_code == 130
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    state = torch.load(tmp_path / "checkpoints" / "last.pth", weights_only=True)["training"]
    assert 0 < state["step"] < 575
    with pytest.raises(InputError, match="belongs to an earlier run"):
        train(settings, out=tmp_path)
    with pytest.raises(InputError, match="epoch_size_mult was 200"):
        train(settings, out=tmp_path, resume=True)
    assert capfd.readouterr() == ("", "")


def test_it_runs_in_a_thread_without_touching_signals(data: Path, tmp_path: Path) -> None:
    handlers: list[object] = []
    results: list[TrainingResult] = []

    def look(event: Event) -> None:
        if isinstance(event, StepsDone):
            handlers.append(signal.getsignal(signal.SIGINT))

    def run() -> None:
        results.append(train(tiny(data, epochs=1), out=tmp_path, on_event=look))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert set(handlers) == {signal.getsignal(signal.SIGINT)}
    assert results[0].best_epoch == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "unknown setting 'epoch'; did you mean epochs"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2.5}, "is not a whole number"),
        ({"data_root": "absent"}, "no folder absent"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(Settings(), out=tmp_path / "run", on_event=ignore, **options)
    assert not (tmp_path / "run").exists()
