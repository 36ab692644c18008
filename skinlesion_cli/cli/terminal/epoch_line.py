"""The line of a finished epoch, fitted to the width of the terminal."""

from rich.text import Text

from skinlesion_cli.common.events import EpochDone

_SELECTED = {
    "weighted-f1": ("weighted F1", "F1"),
    "macro-f1": ("macro F1", "macro F1"),
    "balanced-accuracy": ("balanced accuracy", "bal. acc"),
    "weighted-auc": ("weighted AUC", "AUC"),
}
"""Names of the scores that can select the epoch, long and short."""


def epoch_line(event: EpochDone, width: int) -> Text:
    """The metrics of an epoch on one line, with shorter names if needed; on a narrow terminal, on several."""
    record, digits = event.record, len(str(event.epochs))
    epoch = f"epoch {record.epoch:>{digits}}/{event.epochs}"
    losses = (f"loss {record.train_loss:.4f}", f"val loss {record.val_loss:.4f}")
    # Besides the losses and the accuracy, the score that selects the epoch.
    field = "weighted-f1" if event.select == "loss" else event.select
    value = getattr(record, "val_" + field.replace("-", "_"))
    scores = (f"{record.val_accuracy:.4f}", "–" if value is None else f"{value:.4f}")
    name, short_name = _SELECTED[field]
    long = (
        epoch,
        f"train {losses[0]}",
        losses[1],
        f"val accuracy {scores[0]}",
        f"val {name} {scores[1]}",
    )
    short = (epoch, *losses, f"acc {scores[0]}", f"{short_name} {scores[1]}")
    star = ("  *", "bold green") if record.best else ""
    line = "  ".join((*long, f"lr {record.learning_rate:.2e}"))
    if len(line) + 3 > width:
        line = ""
        for part in (*short, f"lr {record.learning_rate:.1e}"):
            new = len(line.rpartition("\n")[2]) + len(part) + 5 > width
            line += ("\n  " if new else "  " if line else "") + part
    return Text.assemble(line, star)
