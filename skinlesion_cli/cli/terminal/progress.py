"""Display of progress events: a live bar on a terminal, plain lines in a log."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.epoch_line import epoch_line
from skinlesion_cli.common.events import Busy, EpochDone, Event, ImagesDone, Note, StepsDone, Warned

WIDE, MEDIUM, NARROW = 90, 75, 60
"""Columns of a terminal that has room for more figures beside a bar."""


class _Count(MofNCompleteColumn):
    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _TimeLeft(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        left = task.fields["left"]
        if left is not None:
            where = " in run" if console.err.width >= MEDIUM else ""
            return Text(f"{timedelta(seconds=round(left))} left{where}")
        return Text() if task.total is None else super().render(task)


class Display(Progress):
    """Displays events on stderr. Use it as a context manager, and pass `show` as `on_event`."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            _Count(),
            TextColumn("{task.fields[figures]}"),
            _TimeLeft(),
            console=console.err,
            transient=True,
            # Results belong on stdout, even while a bar is shown.
            redirect_stdout=False,
            disable=not console.err.is_terminal,
        )
        self._shown: TaskID | None = None
        self._name = ""

    def __enter__(self) -> "Display":
        self.start()
        return self

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while results are printed on the same terminal."""
        if self.disable or not console.out.is_terminal:
            yield
            return
        self.stop()
        try:
            yield
        finally:
            self.start()

    def show(self, event: Event) -> None:
        """Display one event."""
        match event:
            case Note(text):
                console.note(text)
            case Warned(text):
                console.warn(text)
            case Busy(task):
                self._advance(task, 0, None)
                if not self.disable:
                    self.refresh()
            case StepsDone():
                name = f"epoch {event.epoch}/{event.epochs}"
                self._advance(name, event.step, event.steps, _figures(event), event.seconds_left)
            case ImagesDone(task, done, total):
                self._advance(task, done, total)
            case EpochDone():
                self._end_task()
                console.err.print(epoch_line(event, console.err.width), soft_wrap=True)

    def _advance(
        self, name: str, done: int, total: int | None, figures: str = "", left: float | None = None
    ) -> None:
        if self.disable:
            return
        if self._shown is None or self._name != name:
            self._end_task()
            self._shown, self._name = self.add_task(name, total=total, figures="", left=left), name
        self.update(self._shown, completed=done, figures=figures, left=left)
        if total is not None and done >= total:
            # Short tasks may end before the next refresh of the bar.
            self.refresh()
            self._end_task()

    def _end_task(self) -> None:
        if self._shown is not None:
            self.remove_task(self._shown)
            self._shown = None


@contextmanager
def busy(task: str) -> Iterator[None]:
    """Show on a terminal what is being done, if it takes seconds, until it is done."""
    with Display() as display:
        display.show(Busy(task))
        yield


def _figures(event: StepsDone) -> str:
    """As many metrics as leave room for a bar."""
    figures = (f"loss {event.loss:.4f}", f"acc {event.accuracy:.3f}", f"{event.images_per_second:.0f} img/s")
    width = console.err.width
    return "  ".join(figures[: sum(width >= least for least in (WIDE, MEDIUM, NARROW))])
