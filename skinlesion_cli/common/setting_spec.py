"""Metadata of a setting besides its type and default: help, flags, bounds, and when it may change."""

from dataclasses import dataclass
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
