"""Command-line options, most of them made from the settings: each default and help text is in one place."""

import functools
import inspect
import os
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from skinlesion_cli.cli.terminal import console
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.resolve import resolve, unknown_variables
from skinlesion_cli.common.settings import FIELDS, choices, default_text, spec, value_type

_METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def option(flags: str, help: str, metavar: str | None = None, **known: Any) -> Any:
    """An option of a command, under each of the `flags` (separated by spaces)."""
    return typer.Option(*flags.split(), metavar=metavar, help=help, show_envvar=False, **known)


JsonOption = Annotated[bool, option("--json", "Print one JSON document instead.")]
TTA = "Test-time augmentation: average over four flipped views; takes four times as long."
TtaOption = Annotated[bool, option("--tta", TTA)]
_PRIOR = "Adjust the probabilities to another class prior: uniform, or a class,share CSV file."
PriorOption = Annotated[str | None, option("--prior", _PRIOR, "uniform|FILE.csv")]
_UNCERTAIN = "Mark predictions with a lower probability as uncertain."
MIN_CONFIDENCE = option("--min-confidence", _UNCERTAIN, "NUMBER", min=0.0, max=1.0, show_default=False)
RESUME = "Continue an interrupted command; reuse its results, and those of all parts."
ResumeOption = Annotated[bool, option("--resume", RESUME)]
IMAGES = typer.Argument(metavar="IMAGE…", help="Files, folders or globs.")


def part_of(text: str) -> tuple[int, int]:
    """The value I/N of `--part`, as two numbers."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--part: {text!r} is not I/N such as 1/4, with I from 1 to N")
    return int(found[1]), int(found[2])


def with_settings(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command an option for each named setting, and `--config` and `--verbose`.

    The command gets the resolved `Settings` as its keyword argument `settings`. If it has an argument `model`
    too, that is a `ModelChoice`, made from the options of this class. A command with the argument `options`
    gets the options that were given, by name, and resolves them itself.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        own = _parameters(command)
        model = next((one.annotation for one in own if one.name == "model"), None)
        resolves = not any(one.name == "options" for one in own)
        of_model = _parameters(model) if model else []

        @functools.wraps(command)
        def run(*, verbose: bool, **values: Any) -> int:
            try:
                given = {name: values.pop(name) for name in names}
                options = {
                    # One that was repeated, as the other sources have it.
                    name: ",".join(value) or None if isinstance(value, list) else value
                    for name, value in given.items()
                }
                if model:
                    values["model"] = model(**{one.name: values.pop(one.name) for one in of_model})
                if resolves:
                    values["settings"] = resolve(options, config=values.pop("config"))
                else:
                    values["options"] = options
                # Of several processes, the first one warns.
                for line in unknown_variables() if os.environ.get("RANK", "0") == "0" else []:
                    console.warn(line)
                return command(**values)
            except Exception:
                # `app.main` prints the line that a person needs.
                if verbose:
                    traceback.print_exc()
                raise

        # A command that resolves its options itself has a `--config` of its own.
        common = [one for one in _parameters(_common) if resolves or one.name != "config"]
        own = [one for one in own if one.name not in {"settings", "options", "model"}]
        # Groups make a long help readable, and a short one longer.
        grouped = len(names) >= len(FIELDS) - 1
        parameters = [*own, *of_model, *(_option(name, grouped=grouped) for name in names), *common]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _common(
    config: Annotated[Path | None, option("--config", "TOML file of settings.", "FILE")] = None,
    verbose: Annotated[bool, option("--verbose", "Show the traceback of an error.")] = False,
) -> None:
    """The options that every command has."""


def _parameters(of: Callable[..., Any]) -> list[inspect.Parameter]:
    return [one.replace(kind=_KEYWORD) for one in inspect.signature(of).parameters.values()]


def _option(name: str, *, grouped: bool) -> inspect.Parameter:
    known, kind = spec(name), value_type(name)
    help_text = f"{known.help} Default: {default_text(name)}."
    # Strings on purpose: `Settings` converts them, and reports faults in the same words for every source.
    annotation: Any = str | None
    flags, metavar = " ".join(known.flags), "|".join(choices(name)) or _METAVARS.get(kind)
    if kind is bool:
        flags, annotation = f"{known.flags[0]}/--no-{known.flags[0][2:]}", bool | None
    if known.names:
        annotation = list[str] | None
    panel = known.group if grouped else None
    made = option(flags, help_text, metavar, show_default=False, rich_help_panel=panel)
    return inspect.Parameter(name, _KEYWORD, default=None, annotation=Annotated[annotation, made])
