"""The training: learning curves, settings, versions and machine."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.report import plots
from skinlesion_cli.report.content import Chart, Charts, Pairs, Paragraph, Section, section
from skinlesion_cli.report.facts import RunFacts


def learning(facts: RunFacts) -> Section:
    """Loss and scores over the epochs, with the best epoch."""
    if not facts.history:
        return Section("learning", "Learning curves", missing="results/history.csv was not found")
    text = (
        "Training values are means over the sampled, augmented images during the epoch; "
        "validation values are those of the model at the end of each epoch."
    )
    loss = Chart("Training and validation loss by epoch", partial(plots.plot_loss, history=facts.history))
    plot = partial(plots.plot_scores, history=facts.history)
    scores = Chart("Training and validation scores by epoch", plot)
    return section("learning", "Learning curves", Paragraph(text), Charts((loss, scores)))


def settings(facts: RunFacts) -> Section:
    """Every setting; a remark gives the default if it differs."""
    if not facts.settings:
        return Section("settings", "Settings", missing="results/settings.toml was not found")
    text = "From results/settings.toml, which reproduces the run with --config."
    # Paths of data and weights are always the user's own.
    defaults = {
        name: _text(FIELDS[name].default)
        for name, value in facts.settings.items()
        if name in FIELDS and name not in {"data_root", "init_weights"} and FIELDS[name].default != value
    }
    pairs = tuple((name, _text(value)) for name, value in facts.settings.items())
    notes = {name: f"default {text}" if text else "changed" for name, text in defaults.items()}
    return section("settings", "Settings", Paragraph(text), Pairs(pairs, notes))


def environment(facts: RunFacts) -> Section:
    """Versions, device and everything else in results/environment.json."""
    title = "Versions and machine"
    if not facts.environment:
        return Section("environment", title, missing="results/environment.json was not found")
    return section("environment", title, Pairs(tuple(flattened(facts.environment))))


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of nested values: `versions › torch`, `resumed 1 › device`."""
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flattened(value, f"{name} \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            yield from flattened({f"{key} {place}": one for place, one in enumerate(value, start=1)}, prefix)
        elif isinstance(value, list):
            yield name, " ".join(str(one) for one in value)
        elif value is not None:
            yield name, _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
