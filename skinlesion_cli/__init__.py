"""Train, evaluate, explain and ship compact skin-lesion classifiers.

Importing this package is cheap: torch and timm are imported on first use of a function that needs them.
"""

import typing as _typing
from importlib import import_module as _import_module

from skinlesion_cli.common.version import __version__

if _typing.TYPE_CHECKING:
    from skinlesion_cli.api.evaluate import Comparison, Evaluation, compare, evaluate
    from skinlesion_cli.inference.predictor import Prediction, Predictor, load_predictor
    from skinlesion_cli.training.run import TrainingResult

_PUBLIC = {
    "Comparison": "api.evaluate",
    "Evaluation": "api.evaluate",
    "compare": "api.evaluate",
    "evaluate": "api.evaluate",
    "Prediction": "inference.predictor",
    "Predictor": "inference.predictor",
    "Settings": "common.settings",
    "SkinLesionError": "common.errors",
    "TrainingResult": "training.run",
    "audit": "api.audit",
    "compare": "api.evaluate",
    "evaluate": "api.evaluate",
    "explain": "api.explain",
    "load_predictor": "inference.predictor",
    "train": "api.train",
    "weights": "api.weights",
}
"""Each public name, and the module that defines it."""

__all__ = [
    "Comparison",
    "Evaluation",
    "Prediction",
    "Predictor",
    "__version__",
    "compare",
    "evaluate",
    "load_predictor",
]


def __getattr__(name: str) -> _typing.Any:
    if name in _PUBLIC:
        return getattr(_import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
