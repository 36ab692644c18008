"""Metadata of a setting besides its type and default: help, flags, bounds, and when it may change."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

GROUPS = ("Data", "Model", "Class balance", "Optimisation", "Machine", "Run")
DATA, MODEL, BALANCE, OPTIMISATION, MACHINE, RUN = GROUPS


@dataclass(frozen=True)
class Spec:
    """Metadata of a setting besides its type, range and default."""

    group: str
    """The section of the help that lists it: one of `GROUPS`."""
    help: str
    flags: tuple[str, ...] = ()
    automatic: str = ""
    """What an unset value means, for settings whose default is None."""
    resumable: bool = False
    """Whether `--resume` may change it."""
    per_machine: bool = False
    """Whether the machines of one distributed run may set it differently."""
    names: tuple[str, ...] = ()
    """The allowed names, for a setting that is a list: its value is comma-separated, its option can be
    repeated."""


RESUMABLE: dict[str, Any] = {"resumable": True}
LOCAL: dict[str, Any] = {"resumable": True, "per_machine": True}
FRACTION: dict[str, Any] = {"ge": 0, "le": 1}


def setting(group: str, default: Any, help: str, flags: str = "", **known: Any) -> Any:
    """A field of `Settings`; `known` are its bounds (gt, ge, lt, le) and fields of `Spec`."""
    bounds = {name: known.pop(name, None) for name in ("gt", "ge", "lt", "le")}
    found: Any = Spec(group, help, tuple(flags.split()), **known)
    return Field(default, json_schema_extra={"spec": found}, **bounds)


def converted(value: Any, kind: type, names: tuple[str, ...] = ()) -> Any:
    """A value of a setting as its type `kind`, or, with `names`, as a list of some of them.

    Raises:
        ValueError: it is of another type, or not one of the names.
    """
    # pydantic would accept true, 1.0 and "1.0" as the integer 1; in a config file, each is a mistake.
    if names and isinstance(value, list | tuple):
        value = ",".join(map(str, value)) or None
    if (isinstance(value, bool) and kind is not bool) or (isinstance(value, float) and kind is not float):
        raise ValueError
    if kind is bool and isinstance(value, str):
        return value.strip()
    if kind in (int, float) and isinstance(value, str | float):
        value = kind(value)
        if value != value:
            raise ValueError
    if kind in (str, Path) and value is not None:
        if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
            raise ValueError
        # UnicodeEncodeError is a ValueError: the run's settings.toml could not hold such a name.
        str(value).encode()
    if names and value is not None:
        listed = dict.fromkeys(one.strip() for one in str(value).split(","))
        if not set(listed) <= set(names):
            raise ValueError
        value = ",".join(listed)
    return value
