"""Display of progress events: a live bar on a terminal, plain lines in a log."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from skinlesion_cli.cli import console
from skinlesion_cli.common.events import EpochDone, Event, ImagesDone, Note, StepsDone, Warned


class Display:
    """Displays events on stderr. Use it as a context manager, and pass `show` as `on_event`."""

    def __init__(self) -> None:
        self._live = console.err.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console.err,
            transient=True,
            # Results belong on stdout, even while a bar is shown.
            redirect_stdout=False,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._name = ""

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while results are printed on the same terminal."""
        if not (self._live and console.out.is_terminal):
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    def show(self, event: Event) -> None:
        """Display one event."""
        match event:
            case Note(text):
                console.note(text)
            case Warned(text):
                console.warn(text)
            case StepsDone():
                figures = (
                    f"loss {event.loss:.4f}  acc {event.accuracy:.3f}  {event.images_per_second:.0f} img/s"
                )
                self._advance(f"epoch {event.epoch}", event.step, event.steps, figures)
            case ImagesDone():
                self._advance(event.task, event.done, event.total, "")
            case EpochDone():
                self._end_task()
                console.err.print(_epoch_line(event), soft_wrap=True)

    def _advance(self, name: str, done: int, total: int, figures: str) -> None:
        if not self._live:
            return
        if self._task is None or self._name != name:
            self._end_task()
            self._task, self._name = self._bar.add_task(name, total=total, figures=""), name
        self._bar.update(self._task, completed=done, figures=figures)
        if done >= total:
            # Short tasks may end before the next refresh of the bar.
            self._bar.refresh()
            self._end_task()

    def _end_task(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


def _epoch_line(event: EpochDone) -> Text:
    record = event.record
    width = len(str(event.epochs))
    return Text.assemble(
        f"epoch {record.epoch:>{width}}/{event.epochs}",
        f"  train loss {record.train_loss:.4f}",
        f"  val loss {record.val_loss:.4f}",
        f"  val accuracy {record.val_accuracy:.4f}",
        f"  val weighted F1 {record.val_weighted_f1:.4f}",
        f"  lr {record.learning_rate:.2e}",
        ("  *", "bold green") if record.best else "",
    )
