"""What is wrong with a setting, in one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skinlesion_cli.common.settings import FIELDS, OPTION, choices, spec, value_type
from skinlesion_cli.common.text import nearest, quoted, shortened

_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    Path: "a path in UTF-8",
}
_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}


def fault_text(fault: Mapping[str, Any], origin: str | None) -> str:
    """One line about a fault that pydantic found: which setting, where it was set, and what is allowed."""
    name, kind = str(fault["loc"][0]), fault["type"]
    if kind == "extra_forbidden":
        return f"{origin or 'Settings'}: unknown setting {quoted(name)}{nearest(name, FIELDS)}"
    label = spec(name).flags[0] if origin == OPTION else f"{name} in {origin}" if origin else name
    value = _shown(fault["input"])
    if kind in _BOUNDS:
        (bound,) = fault["ctx"].values()
        return f"{label}: {value} is out of range; it must be {_BOUNDS[kind]} {bound:g}"
    if kind == "literal_error" or spec(name).names:
        return f"{label}: {value} is not one of {', '.join(choices(name))}"
    return f"{label}: {value} is not {_KINDS[value_type(name)]}"


def _shown(value: Any) -> str:
    try:
        return quoted(value) if isinstance(value, str) else shortened(repr(value))
    # A number with thousands of digits cannot be printed in decimal, and a deeply nested list not at all.
    except (ValueError, RecursionError):
        return f"this {type(value).__name__}"
