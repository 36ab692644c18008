"""Packages that only some commands need, and the one line that names them when they are missing."""

from importlib.util import find_spec

from skinlesion_cli.common.errors import InputError


def require_modules(names: str, purpose: str) -> None:
    """See that optional packages can be imported, without importing them.

    Args:
        names: modules of the extra `export`, between blanks.
        purpose: what they are needed for: "to run an .onnx", say.

    Raises:
        InputError: one of them is not installed.
    """
    missing = [name for name in names.split() if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)} is needed {purpose}: install it with pip install 'skinlesion-cli[export]'"
        )


def require_writer(suffix: str) -> None:
    """See that what writes exported models of this kind is installed: .pt2 needs torch alone.

    Raises:
        InputError: it is not; the message names the extra.
    """
    if suffix == ".onnx":
        require_modules("onnx onnxscript onnxruntime", "to write an .onnx")
