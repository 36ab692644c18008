"""Train, evaluate, explain and ship compact skin-lesion classifiers.

Importing this package is cheap: torch and timm are imported on first use of a function that needs them.
"""

import os as _os
import typing as _typing
from importlib import import_module as _import_module

from skinlesion_cli.common.cores import limit_threads as _limit_threads
from skinlesion_cli.common.version import __version__ as __version__

# Read by ONNX Runtime when any library imports it. It would write a device ID and a database of events into
# the user's cache folder, and send them to its vendor.
_os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Read by OpenMP when torch is imported. Its threads spin while they wait for each other; if other processes
# use the same cores, that takes time from the thread that they wait for (docs/speed.md). Values set by the
# user are kept.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & _os.environ.keys():
    _os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
_limit_threads(_os.environ)

if _typing.TYPE_CHECKING:
    from skinlesion_cli.api.audit import audit as audit
    from skinlesion_cli.api.compare import Comparison as Comparison
    from skinlesion_cli.api.compare import compare as compare
    from skinlesion_cli.api.evaluate import Evaluation as Evaluation
    from skinlesion_cli.api.evaluate import evaluate as evaluate
    from skinlesion_cli.api.explain import Explanation as Explanation
    from skinlesion_cli.api.explain import explain as explain
    from skinlesion_cli.api.study import StudyResult as StudyResult
    from skinlesion_cli.api.study import study as study
    from skinlesion_cli.api.train import train as train
    from skinlesion_cli.api.weights import ClassWeights as ClassWeights
    from skinlesion_cli.api.weights import weights as weights
    from skinlesion_cli.common.errors import SkinLesionError as SkinLesionError
    from skinlesion_cli.common.settings import Settings as Settings
    from skinlesion_cli.curation.audit import Audit as Audit
    from skinlesion_cli.inference.prediction import Prediction as Prediction
    from skinlesion_cli.inference.predictor import Predictor as Predictor
    from skinlesion_cli.inference.predictor import load_predictor as load_predictor
    from skinlesion_cli.training.run import TrainingResult as TrainingResult

_PUBLIC = {
    "api.audit": "audit",
    "api.compare": "Comparison compare",
    "api.evaluate": "Evaluation evaluate",
    "api.explain": "Explanation explain",
    "api.study": "StudyResult study",
    "api.train": "train",
    "api.weights": "ClassWeights weights",
    "common.errors": "SkinLesionError",
    "common.settings": "Settings",
    "curation.audit": "Audit",
    "inference.prediction": "Prediction",
    "inference.predictor": "Predictor load_predictor",
    "training.run": "TrainingResult",
}
"""The public names that each module defines."""


def __getattr__(name: str) -> _typing.Any:
    if name == "__all__":
        return __dir__()
    for module, names in _PUBLIC.items():
        if name in names.split():
            return getattr(_import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(["__version__", *" ".join(_PUBLIC.values()).split()])
