"""Optional packages, and the one-line error where one is missing."""

import os
from importlib.util import find_spec

from skinlesion_cli.common.errors import InputError

TRACKERS = {
    "tensorboard": "tensorboard",
    "mlflow": "mlflow sqlalchemy alembic",
    "wandb": "wandb",
    "trackio": "trackio",
}
"""The trackers of `train --track`, each with the modules that it needs."""


def require_modules(names: str, purpose: str) -> None:
    """Require modules for a `purpose` such as "to run an .onnx". Packages have the same names, with - for _.

    The message names the packages, not our extra: that works however this tool was installed.
    """
    if missing := [name for name in names.split() if find_spec(name) is None]:
        packages = [name.replace("_", "-") for name in missing]
        raise InputError(f"{', '.join(packages)} is needed {purpose}: pip install {' '.join(packages)}")


def require_trackers(names: str | None) -> None:
    """Require the modules of the trackers; `names` is the value of the setting `track`."""
    for name in (names or "").split(",") if names else []:
        # A server has its own database.
        remote = name == "mlflow" and os.environ.get("MLFLOW_TRACKING_URI")
        require_modules("mlflow" if remote else TRACKERS[name], f"for --track {name}")
