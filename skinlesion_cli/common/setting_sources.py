"""The sources of settings: those of pydantic-settings, with this program's limits on files.

Separate from `settings`, because pydantic-settings is slow to import and `--help` needs no values.
"""

import io
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, TomlConfigSettingsSource

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import read_text
from skinlesion_cli.common.settings import ENV_PREFIX, Settings


class _Sourced(Settings, BaseSettings):
    """`Settings` as the sources need it: they read the names and types of its fields."""

    model_config = {"env_prefix": ENV_PREFIX}


class _Config(TomlConfigSettingsSource):
    # The library skips a missing file, and has no limits.
    def _read_files(self, files: Any, deep_merge: bool = False) -> dict[str, Any]:  # noqa: ARG002
        text = read_text(files, "the config file ")
        try:
            return tomllib.loads(text)
        # For invalid TOML, and for a number with thousands of digits.
        except (ValueError, RecursionError) as error:
            raise InputError(f"{files} is not a TOML file: {error}") from None


class _Dotenv(DotEnvSettingsSource):
    def _read_env_file(self, file_path: Path) -> Mapping[str, str | None]:
        values = {}
        for line in parse_stream(io.StringIO(read_text(file_path))):
            # Other programs' lines may have any form; one with this program's prefix is meant for it.
            if line.error and ENV_PREFIX in line.original.string:
                raise InputError(f"{file_path}, line {line.original.line}: it must be NAME=value")
            if not line.error and line.key and line.key.startswith(ENV_PREFIX):
                values[line.key] = line.value or ""
        return values

    def __call__(self) -> dict[str, Any]:
        # The library does not remove the prefix of unknown names.
        return {name.removeprefix(ENV_PREFIX).lower(): value for name, value in self.env_vars.items()}


def read_sources(
    config: Path | None, environ: Mapping[str, str], dotenv: Path
) -> list[tuple[str, dict[str, Any]]]:
    """The unchecked values of each source, by its name; later ones win. InputError for an unusable file."""
    environment = EnvSettingsSource(_Sourced)
    environment.env_vars = {name.lower(): value for name, value in environ.items()}
    sources = {str(dotenv): _Dotenv(_Sourced, dotenv), "the environment": environment}
    found = [(str(config), _Config(_Sourced, config)())] if config is not None else []
    return found + [(origin, source()) for origin, source in sources.items()]
