"""The formats of `export`, by the suffix of the file. No torch here: the command line reads it first."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.extras import require_modules


@dataclass(frozen=True)
class Format:
    """A format that a checkpoint can be written in."""

    module: str
    """The file in `exporting` with its function `export(checkpoint, target, pixels)`."""
    modules: str = ""
    """Names of the modules that it needs beyond torch."""

    def require(self, suffix: str) -> None:
        """Raise InputError, with the pip command, if a package is missing."""
        require_modules(self.modules, f"to write {'an' if suffix == '.onnx' else 'a'} {suffix}")

    def export(self, *values: Any, **options: Any) -> Any:
        """Call the function `export` of its module."""
        return import_module(f"skinlesion_cli.exporting.{self.module}").export(*values, **options)


FORMATS = {
    ".onnx": Format("onnx", "onnx onnxscript onnxruntime"),
    ".pt2": Format("pt2"),
    ".pte": Format("pte", "executorch"),
    ".mlpackage": Format("mlpackage", "coremltools"),
}


def format_of(target: Path) -> Format:
    """The format of a file by its suffix; InputError if there is none."""
    if target.suffix not in FORMATS:
        raise InputError(
            f"--to {target}: the file must be a {', '.join(FORMATS)}; a new folder has no suffix"
        )
    return FORMATS[target.suffix]
