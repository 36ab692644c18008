"""Optional packages, and the one-line error where one is missing."""

from importlib.util import find_spec

from skinlesion_cli.common.errors import InputError


def require_modules(names: str, purpose: str) -> None:
    """InputError, with the `purpose` ("to run an .onnx"), unless modules of the extra `export` are there."""
    missing = [name for name in names.split() if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)} is needed {purpose}: install it with pip install 'skinlesion-cli[export]'"
        )


def require_writer(suffix: str) -> None:
    """Check, as `require_modules`, what an export in this format needs: .pt2 needs only torch."""
    if suffix == ".onnx":
        require_modules("onnx onnxscript onnxruntime", "to write an .onnx")
