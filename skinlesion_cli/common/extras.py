"""Optional packages, and the one-line error where one is missing."""

from importlib.util import find_spec

from skinlesion_cli.common.errors import InputError


def require_modules(names: str, purpose: str) -> None:
    """Check that optional packages are installed, without importing them.

    Args:
        names: modules of the extra `export`, separated by spaces.
        purpose: what they are needed for, such as "to run an .onnx".

    Raises:
        InputError: one of them is not installed.
    """
    missing = [name for name in names.split() if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)} is needed {purpose}: install it with pip install 'skinlesion-cli[export]'"
        )


def require_writer(suffix: str) -> None:
    """Check that the packages that export to this format are installed; .pt2 needs only torch.

    Raises:
        InputError: one is not; the message names the extra.
    """
    if suffix == ".onnx":
        require_modules("onnx onnxscript onnxruntime", "to write an .onnx")
