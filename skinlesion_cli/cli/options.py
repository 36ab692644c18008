"""Command-line options made from the settings, so that each default and help text is in one place."""

import functools
import inspect
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.common.settings import choices, default_text, resolve, spec, value_type

__all__ = ["JsonOption", "ModelChoice", "TtaOption", "with_settings"]

_METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}
_KEYWORD = inspect.Parameter.KEYWORD_ONLY

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]

TtaOption = Annotated[
    bool,
    typer.Option("--tta", help="Test-time augmentation: average over four flips, in four times the time."),
]


def with_settings(*names: str, model: bool = False) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command an option for each named setting, and `--config` and `--verbose`.

    The command gets the resolved `Settings` as its keyword argument `settings` and, with `model`, the options
    that name a trained model as `model`, a `ModelChoice`.
    """
    of_model = _parameters(ModelChoice) if model else []

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(*, config: Path | None, verbose: bool, **values: Any) -> int:
            try:
                options = {name: values.pop(name) for name in names}
                if model:
                    values["model"] = ModelChoice(**{one.name: values.pop(one.name) for one in of_model})
                settings = resolve(options, config=config)
                _warn_of_unknown_variables()
                return command(settings=settings, **values)
            except Exception:
                # `app.main` prints the line that a person needs.
                if verbose:
                    traceback.print_exc()
                raise

        own = [one for one in _parameters(command) if one.name not in {"settings", "model"}]
        parameters = [*own, *of_model, *map(_option, names), *_parameters(_common)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _common(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file of settings.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error.")] = False,
) -> None:
    """The options that every command has."""


def _parameters(of: Callable[..., Any]) -> list[inspect.Parameter]:
    return [one.replace(kind=_KEYWORD) for one in inspect.signature(of).parameters.values()]


def _option(name: str) -> inspect.Parameter:
    known, kind = spec(name), value_type(name)
    help_text = f"{known.help} Default: {default_text(name)}."
    # Texts on purpose: `Settings` converts them, and words every fault wherever a value comes from.
    annotation: Any = str | None
    flags, metavar = known.flags, "|".join(choices(name)) or _METAVARS.get(kind)
    if kind is bool:
        flags, annotation = (f"{known.flags[0]}/--no-{known.flags[0][2:]}",), bool | None
    option = typer.Option(*flags, metavar=metavar, help=help_text, show_default=False)
    return inspect.Parameter(name, _KEYWORD, default=None, annotation=Annotated[annotation, option])


def _warn_of_unknown_variables() -> None:
    from skinlesion_cli.common.setting_sources import unknown_variables

    # Of several processes, the first one speaks.
    for line in unknown_variables() if os.environ.get("RANK", "0") == "0" else []:
        console.warn(line)
