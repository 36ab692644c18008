"""Settings as a config file."""

from pathlib import Path

from skinlesion_cli.common.settings import Settings


def to_toml(settings: Settings, processes: int = 1) -> str:
    """The settings as a config file that works from any folder, headed by the command to use it with."""
    import tomli_w

    values = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in settings
        if value is not None
    }
    command = "skinlesion" if processes == 1 else f"torchrun --nproc-per-node {processes} -m skinlesion_cli"
    heading = f"# Reproduce this run: {command} train --config settings.toml --out ANOTHER_FOLDER\n"
    return heading + tomli_w.dumps(values)
