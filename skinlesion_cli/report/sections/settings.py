"""Settings, and where the run was made."""

from collections.abc import Iterator, Mapping
from typing import Any

from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.markup import tag
from skinlesion_cli.report.sections.section import Section, left_out, section
from skinlesion_cli.report.tables import facts_list


def settings(facts: RunFacts) -> Section:
    """Every setting; those that differ from the default are marked."""
    if not facts.settings:
        return left_out("settings", "Settings", "there is no results/settings.toml")
    rows = [
        (name, tag("span", tag("code", _text(value)), _changed(name, value)))
        for name, value in facts.settings.items()
    ]
    text = "results/settings.toml, which reproduces the run with --config. Marked: other than the default."
    return section("settings", "Settings", tag("p", text), facts_list(rows))


def environment(facts: RunFacts) -> Section:
    """Versions, device and all else that results/environment.json tells."""
    title = "Versions and machine"
    if not facts.environment:
        return left_out(
            "environment", title, "there is no results/environment.json; an older version trained the run"
        )
    rows = [(name, tag("code", value)) for name, value in flattened(facts.environment)]
    return section("environment", title, facts_list(rows))


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of nested values: `versions › torch`."""
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flattened(value, f"{name} \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ")
        elif isinstance(value, list):
            yield name, " ".join(str(one) for one in value)
        elif value is not None:
            yield name, _text(value)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _changed(name: str, value: Any) -> object:
    known = FIELDS.get(name)
    # Paths of data and weights are always the user's own.
    if known is None or name in {"data_root", "init_weights"} or known.default == value:
        return None
    return tag(
        "small",
        f"  \N{BULLET} default {_text(known.default)}" if known.default is not None else "  \N{BULLET}",
    )
