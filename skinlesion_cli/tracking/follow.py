"""Follows the events of a run, and passes its metrics and figures to experiment trackers."""

import dataclasses
import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skinlesion_cli.common.errors import one_line
from skinlesion_cli.common.events import (
    EpochDone,
    EpochRecord,
    Event,
    Note,
    OnEvent,
    RunScored,
    RunStarted,
    StepsDone,
    Warned,
    ignore,
)
from skinlesion_cli.common.files import write_text
from skinlesion_cli.tracking.tracker import Open, Run, Tracker, opener


class Follower:
    """An `on_event` that tracks a run. Use it as a context manager, which closes the trackers.

    With several processes, only the first one receives events, so only that one logs.
    """

    def __init__(self, trackers: str | Mapping[str, Open] | None, on_event: OnEvent = ignore):
        """Pass each event on to `on_event`.

        Args:
            trackers: comma-separated names of built-in trackers; or custom ones, each with a name and a
                function (usually the class) that takes a `Run` and returns a `Tracker`.
            on_event: receives the events, and a warning if a tracker fails, which is then no longer used.
        """
        if not isinstance(trackers, Mapping):
            trackers = {name: opener(name) for name in trackers.split(",")} if trackers else {}
        self._openers, self._on_event = trackers, on_event
        self._open: dict[str, Tracker] = {}
        self._speed: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, tracker in list(self._open.items()):
            self._try(name, lambda tracker=tracker: tracker.end(finished=kind is None))  # type: ignore[misc]
        self._open.clear()

    def __call__(self, event: Event) -> None:
        """Handle one event."""
        self._on_event(event)
        match event:
            case RunStarted() if self._openers:
                self._try(", ".join(self._openers), lambda: self._start(event))
            case StepsDone():
                self._speed = event.images_per_second
            case EpochDone():
                speed = {} if self._speed is None else {"images_per_second": self._speed}
                self._each(lambda name, tracker: self._epoch(name, tracker, event.record, speed))
            case RunScored():
                self._each(lambda _, tracker: _log_final(tracker, event))
                others = [path.name for path in event.pictures if path.suffix != ".png"]
                if self._open and others:
                    self._on_event(Warned(f"trackers get no {others[0]}, only .png: use --figures png"))

    def _start(self, event: RunStarted) -> None:
        self._state = _State(event.folder / "tracking", resumed=event.resumed)
        values = event.settings.model_dump(exclude_none=True)
        settings = {
            name: value if isinstance(value, int | float | str) else str(value)
            for name, value in values.items()
            if name != "track"
        }
        for name, open_tracker in self._openers.items():
            run = Run(
                self._state.folder,
                event.folder.absolute().name,
                self._state.id,
                settings,
                resumed=name in self._state.epochs,
            )
            self._try(name, lambda: self._begin(name, open_tracker(run), event))  # noqa: B023

    def _begin(self, name: str, tracker: Tracker, event: RunStarted) -> None:
        self._open[name] = tracker
        self._on_event(Note(f"tracking with {name}: {tracker.view}"))
        self._state.mark(name, self._state.epochs.get(name, 0))
        # A tracker that joins a run later gets the earlier epochs too.
        for record in event.history:
            self._epoch(name, tracker, record, {})

    def _epoch(self, name: str, tracker: Tracker, record: EpochRecord, speed: dict[str, float]) -> None:
        if record.epoch > self._state.epochs[name]:
            tracker.log(figures_of(record) | speed, record.epoch)
            self._state.mark(name, record.epoch)

    def _each(self, action: Callable[[str, Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            self._try(name, lambda: action(name, tracker))  # noqa: B023

    def _try(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        # No error of a tracker may end hours of training.
        except Exception as error:
            self._open.pop(name, None)
            self._on_event(Warned(f"tracking with {name} stopped, training continues: {one_line(error)}"))


def _log_final(tracker: Tracker, event: RunScored) -> None:
    epoch = event.history[-1].epoch
    tracker.log(final_scores(event), epoch)
    for picture in event.pictures:
        if picture.suffix == ".png":
            tracker.picture(picture.stem, picture, epoch)


def figures_of(record: EpochRecord) -> dict[str, float]:
    """A row of history.csv under its names, without what is undefined; `best` is 0 or 1."""
    values = dataclasses.asdict(record)
    return {name: float(value) for name, value in values.items() if name != "epoch" and value is not None}


def final_scores(event: RunScored) -> dict[str, float]:
    """`SPLIT/SCORE`, and the ends of its 95% interval as `SPLIT/SCORE_low` and `SPLIT/SCORE_high`."""
    # numpy is imported by now, but should not be imported by `train` itself.
    from skinlesion_cli.metrics.classification import SUMMARY

    found = {"best_epoch": float(max(one.epoch for one in event.history if one.best))}
    for split, document in event.documents.items():
        for score in SUMMARY:
            low, high = document["ci95"].get(score) or (None, None)
            values = {score: document[score], f"{score}_low": low, f"{score}_high": high}
            found |= {f"{split}/{name}": value for name, value in values.items() if value is not None}
    return found


class _State:
    """tracking/state.json: the ID of the run, and the last epoch that each tracker has logged."""

    def __init__(self, folder: Path, *, resumed: bool):
        self.folder, self._file = folder, folder / "state.json"
        self.id, self.epochs = uuid.uuid4().hex[:8], dict[str, int]()
        folder.mkdir(exist_ok=True)
        if resumed and self._file.is_file():
            known: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            self.id, self.epochs = known["id"], known["epochs"]

    def mark(self, name: str, epoch: int) -> None:
        self.epochs[name] = epoch
        write_text(self._file, json.dumps({"id": self.id, "epochs": self.epochs}) + "\n")
