"""The learning curves."""

from collections.abc import Callable, Sequence

from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.report.axes import epoch_axis, fitted_axis, share_axis
from skinlesion_cli.report.charts import Line, chart
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.markup import tag
from skinlesion_cli.report.sections.section import Section, left_out, section

MOST_DOTS = 40


def learning(facts: RunFacts) -> Section:
    """Loss and scores over the epochs, with the epoch that is kept."""
    history = facts.history
    if not history:
        return left_out("learning", "Learning curves", "there is no results/history.csv")
    best = max((record.epoch for record in history if record.best), default=0)
    kept = (float(best), f"kept: epoch {best}") if best else None
    loss = [
        _line(history, lambda one: one.train_loss, "training", "grey", dashed=True),
        _line(history, lambda one: one.val_loss, "validation", "blue"),
    ]
    scores = [
        _line(history, lambda one: one.train_accuracy, "training accuracy", "grey", dashed=True),
        _line(history, lambda one: one.val_accuracy, "validation accuracy", "blue"),
        _line(history, lambda one: one.val_weighted_f1, "validation weighted F1", "orange"),
    ]
    x = epoch_axis(history[-1].epoch)
    loss_axis = fitted_axis("Weighted cross-entropy", [value for line in loss for value in line.y])
    first = chart("Training and validation loss over the epochs", x, loss_axis, lines_=loss, kept=kept)
    second = chart(
        "Training and validation scores over the epochs", x, share_axis("Score"), lines_=scores, kept=kept
    )
    text = (
        "Training figures are means over the drawn, augmented images while the model learned; validation "
        "figures are those of the model at the end of each epoch."
    )
    return section(
        "learning",
        "Learning curves",
        tag("p", text),
        tag("div", tag("figure", first), tag("figure", second), class_="charts"),
    )


def _line(
    history: Sequence[EpochRecord],
    value: Callable[[EpochRecord], float],
    label: str,
    colour: str,
    *,
    dashed: bool = False,
) -> Line:
    return Line(
        [float(one.epoch) for one in history],
        [value(one) for one in history],
        label,
        colour,
        dashed=dashed,
        dots=len(history) <= MOST_DOTS,
    )
