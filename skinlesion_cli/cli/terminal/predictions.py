"""Predictions, printed as they are computed: as tables, or as one JSON list."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rich.text import Text

from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.layout import Table
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.text import printable
from skinlesion_cli.report.figures import probability_text

if TYPE_CHECKING:
    from skinlesion_cli.inference.prediction import Failure, Prediction

BAR_WIDTH = 24
PAGE = 500  # images per table


class Shown(Protocol):
    """Prints results. None is kept, so that memory does not grow with the number of images."""

    def add(self, result: "Prediction | Failure") -> None:
        """Show one result."""

    def end(self) -> None:
        """Print what is still buffered."""


def warn_of(result: "Prediction | Failure") -> None:
    """Warn of a file that cannot be read, and of an image unlike the training images."""
    if error := getattr(result, "error", None):
        console.warn(error)
    elif getattr(result, "out_of_distribution", False):
        console.warn(f"{result.image} is unlike the training images: its prediction is unreliable")


@dataclass
class AsJson:
    """Results as one JSON list."""

    min_confidence: float
    items: console.JsonList = field(default_factory=console.JsonList)

    def add(self, result: "Prediction | Failure") -> None:
        """Print one item."""
        self.items.add(result.to_dict(self.min_confidence))
        warn_of(result)

    def end(self) -> None:
        """Close the list."""
        self.items.end()


@dataclass
class AsTables:
    """Predictions as tables of several hundred rows."""

    top: int
    min_confidence: float
    display: Display
    page: "list[Prediction]" = field(default_factory=list)
    header: bool = True

    def add(self, result: "Prediction | Failure") -> None:
        """Print a table if there are enough for one."""
        from skinlesion_cli.inference.prediction import Prediction

        if isinstance(result, Prediction):
            self.page.append(result)
        if len(self.page) == PAGE:
            self.end()
        warn_of(result)

    def end(self) -> None:
        """Print the last table."""
        if self.page:
            with self.display.aside():
                console.out.print(_table(self.page, self.top, self.min_confidence, header=self.header))
            self.page, self.header = [], False


class NotAtAll:
    """A part of an array job shows nothing: its results are those of the whole."""

    def add(self, result: "Prediction | Failure") -> None:
        """Warn of it only."""
        warn_of(result)

    def end(self) -> None:
        """Nothing."""


def _table(predictions: "list[Prediction]", top: int, min_confidence: float, *, header: bool) -> Table:
    rows, bars = [], []
    for prediction in predictions:
        for rank, (name, probability) in enumerate(prediction.top(top)):
            label = printable(name)
            if rank == 0 and prediction.is_uncertain(min_confidence):
                label += " (uncertain)"
            image = printable(prediction.image) if rank == 0 else ""
            rows.append((image, Text(label, "dim" if rank else "bold"), probability_text(probability)))
            bars.append(Text("█" * round(probability * BAR_WIDTH), "dim" if rank else "cyan"))
    return Table(("Image", "Class", "Probability"), rows, left=(0, 1), bars=bars, header=header)
