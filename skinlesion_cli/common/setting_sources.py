"""Where settings come from: the sources of pydantic-settings, within this program's limits on files.

Apart from `settings`, because pydantic-settings takes a while to import and `--help` needs no values.
"""

import io
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, TomlConfigSettingsSource

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import read_text
from skinlesion_cli.common.settings import ENV_PREFIX, FIELDS, Settings
from skinlesion_cli.common.text import nearest

OTHER_VARIABLES = ("SKINLESION_CHECKPOINT", "SKINLESION_OUT")
"""Environment variables of single options, which are no settings."""


class _Sourced(Settings, BaseSettings):
    """`Settings` as the sources need it: they read the names and types of its fields."""

    model_config = {"env_prefix": ENV_PREFIX}


class _Config(TomlConfigSettingsSource):
    # The library's own skips a file that is missing, and knows no limits.
    def _read_files(self, files: Any, deep_merge: bool = False) -> dict[str, Any]:  # noqa: ARG002
        text = read_text(files, "the config file ")
        try:
            return tomllib.loads(text)
        # Python refuses a number of thousands of digits by a ValueError, as it does invalid TOML.
        except (ValueError, RecursionError) as error:
            raise InputError(f"{files} is not a TOML file: {error}") from None


class _Dotenv(DotEnvSettingsSource):
    def _read_env_file(self, file_path: Path) -> Mapping[str, str | None]:
        values = {}
        for line in parse_stream(io.StringIO(read_text(file_path))):
            # Other programs' lines may have any form; one with this program's prefix is meant for it.
            if line.error and ENV_PREFIX in line.original.string:
                raise InputError(f"{file_path}, line {line.original.line}: it is not of the form NAME=value")
            if not line.error and line.key and line.key.startswith(ENV_PREFIX):
                values[line.key] = line.value or ""
        return values

    def __call__(self) -> dict[str, Any]:
        # With unknown names, which the library's own leaves in with their prefix.
        return {name.removeprefix(ENV_PREFIX).lower(): value for name, value in self.env_vars.items()}


def read_config(path: Path | None) -> dict[str, Any]:
    """The values in a TOML file, unchecked.

    Raises:
        InputError: it cannot be read, is too large, or is not TOML.
    """
    return _Config(_Sourced, path)() if path is not None else {}


def read_dotenv(path: Path) -> dict[str, Any]:
    """The values of the `SKINLESION_` lines in a `.env` file, unchecked; nothing without such a file.

    Raises:
        InputError: it cannot be read, is too large, or one of these lines is not `NAME=value`.
    """
    return _Dotenv(_Sourced, path)() if path.is_file() else {}


def read_environment(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The values in the environment (`os.environ` by default), unchecked."""
    source = EnvSettingsSource(_Sourced)
    if environ is not None:
        source.env_vars = {name.lower(): value for name, value in environ.items()}
    return source()


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A line about each `SKINLESION_` variable in the environment that is not known, with the nearest name.

    Unlike an unknown key in a config file it is no error: another program may use the same prefix.
    """
    known = [ENV_PREFIX + name.upper() for name in FIELDS] + list(OTHER_VARIABLES)
    names = sorted(os.environ if environ is None else environ)
    unknown = [name for name in names if name.startswith(ENV_PREFIX) and name.upper() not in known]
    return [f"unknown environment variable {name} is ignored{nearest(name, known)}" for name in unknown]
