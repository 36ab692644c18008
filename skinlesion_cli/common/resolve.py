"""Where the values of settings come from, and which source wins."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skinlesion_cli.common.settings import ENV_PREFIX, FIELDS, OPTION, OTHER_VARIABLES, Settings
from skinlesion_cli.common.text import nearest


def resolve(
    options: Mapping[str, Any],
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    dotenv: Path = Path(".env"),
) -> Settings:
    """Take each setting from the first of: option, environment, `.env`, config file, default.

    An option of None is "not given". `config` is a TOML file; `dotenv` has lines `SKINLESION_NAME=value`
    (other names are ignored), and may be missing. InputError for an unknown key, a wrong type or value; the
    message names its origin.
    """
    environ = os.environ if environ is None else environ
    sources = [(OPTION, {name: value for name, value in options.items() if value is not None})]
    # pydantic-settings is slow to import, and needed only for these.
    if config is not None or dotenv.exists() or _variables(environ):
        from skinlesion_cli.common.setting_sources import read_sources

        sources = [*read_sources(config, environ, dotenv), *sources]
    values: dict[str, Any] = {}
    for origin, source in sources:
        # Each source is checked separately, so that a message can name it, and a value that is overridden is
        # checked too.
        values |= Settings.model_validate(source, context=origin).model_dump(exclude_unset=True)
    return Settings(**values)


def _variables(environ: Mapping[str, str]) -> list[str]:
    return sorted(name for name in environ if name.upper().startswith(ENV_PREFIX))


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A warning for each unknown `SKINLESION_` variable, with the nearest name.

    Unlike an unknown key in a config file, this is not an error: another program may use the same prefix.
    """
    known = [ENV_PREFIX + name.upper() for name in FIELDS] + list(OTHER_VARIABLES)
    names = _variables(os.environ if environ is None else environ)
    unknown = [name for name in names if name.startswith(ENV_PREFIX) and name.upper() not in known]
    return [f"unknown environment variable {name} is ignored{nearest(name, known)}" for name in unknown]
