"""Display of progress events: a live bar on a terminal, plain lines in a log."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from skinlesion_cli.cli import console
from skinlesion_cli.common.events import EpochDone, Event, ImagesDone, Note, StepsDone, Warned


class Display(Progress):
    """Displays events on stderr. Use it as a context manager, and pass `show` as `on_event`."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
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
            case StepsDone(epoch, step, steps, loss, accuracy, speed):
                figures = f"loss {loss:.4f}  acc {accuracy:.3f}  {speed:.0f} img/s"
                self._advance(f"epoch {epoch}", step, steps, figures)
            case ImagesDone(task, done, total):
                self._advance(task, done, total, "")
            case EpochDone():
                self._end_task()
                console.err.print(_epoch_line(event), soft_wrap=True)

    def _advance(self, name: str, done: int, total: int, figures: str) -> None:
        if self.disable:
            return
        if self._shown is None or self._name != name:
            self._end_task()
            self._shown, self._name = self.add_task(name, total=total, figures=""), name
        self.update(self._shown, completed=done, figures=figures)
        if done >= total:
            # Short tasks may end before the next refresh of the bar.
            self.refresh()
            self._end_task()

    def _end_task(self) -> None:
        if self._shown is not None:
            self.remove_task(self._shown)
            self._shown = None


def _epoch_line(event: EpochDone) -> Text:
    record, width = event.record, len(str(event.epochs))
    return Text.assemble(
        f"epoch {record.epoch:>{width}}/{event.epochs}",
        f"  train loss {record.train_loss:.4f}",
        f"  val loss {record.val_loss:.4f}",
        f"  val accuracy {record.val_accuracy:.4f}",
        f"  val weighted F1 {record.val_weighted_f1:.4f}",
        f"  lr {record.learning_rate:.2e}",
        ("  *", "bold green") if record.best else "",
    )
