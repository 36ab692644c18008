"""Optional packages, and the one-line error where one is missing."""

from importlib.util import find_spec

from skinlesion_cli.common.errors import InputError


def require_modules(names: str, purpose: str) -> None:
    """Require modules of the extra `export`, for a `purpose` such as "to run an .onnx" in the message."""
    if missing := ", ".join(name for name in names.split() if find_spec(name) is None):
        hint = "install it with pip install 'skinlesion-cli[export]'"
        raise InputError(f"{missing} is needed {purpose}: {hint}")


def require_writer(suffix: str) -> None:
    """Check, as `require_modules`, what an export in this format needs: .pt2 needs only torch."""
    if suffix == ".onnx":
        require_modules("onnx onnxscript onnxruntime", "to write an .onnx")
