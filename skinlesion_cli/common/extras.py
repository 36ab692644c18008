"""Optional packages, and the one-line error where one is missing."""

from importlib.util import find_spec

from skinlesion_cli.common.errors import InputError


def require_modules(names: str, purpose: str) -> None:
    """Require modules for a `purpose` such as "to run an .onnx". Packages have their names, with - for _.

    The message names the packages, not our extra: that works wherever this tool was installed from.
    """
    if missing := [name for name in names.split() if find_spec(name) is None]:
        packages = [name.replace("_", "-") for name in missing]
        raise InputError(f"{', '.join(packages)} is needed {purpose}: pip install {' '.join(packages)}")
