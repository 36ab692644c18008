"""Train, evaluate, explain and ship compact skin-lesion classifiers.

Importing this package is cheap: torch and timm are imported on first use of a function that needs them.
"""

import typing as _typing
from importlib import import_module as _import_module

from skinlesion_cli.common.version import __version__

if _typing.TYPE_CHECKING:
    from skinlesion_cli.api.audit import audit
    from skinlesion_cli.api.evaluate import Comparison, Evaluation, compare, evaluate
    from skinlesion_cli.api.explain import Explanation, explain
    from skinlesion_cli.api.train import train
    from skinlesion_cli.api.weights import ClassWeights, weights
    from skinlesion_cli.common.errors import SkinLesionError
    from skinlesion_cli.common.settings import Settings
    from skinlesion_cli.curation.audit import Audit
    from skinlesion_cli.inference.predictor import Prediction, Predictor, load_predictor
    from skinlesion_cli.training.run import TrainingResult

_PUBLIC = {
    "Audit": "curation.audit",
    "ClassWeights": "api.weights",
    "Comparison": "api.evaluate",
    "Evaluation": "api.evaluate",
    "Explanation": "api.explain",
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
    "Audit",
    "ClassWeights",
    "Comparison",
    "Evaluation",
    "Explanation",
    "Prediction",
    "Predictor",
    "Settings",
    "SkinLesionError",
    "TrainingResult",
    "__version__",
    "audit",
    "compare",
    "evaluate",
    "explain",
    "load_predictor",
    "train",
    "weights",
]


def __getattr__(name: str) -> _typing.Any:
    if name in _PUBLIC:
        return getattr(_import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
