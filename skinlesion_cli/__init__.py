"""Train, evaluate, explain and ship compact skin-lesion classifiers.

The public surface is small:

* `load_predictor` turns a checkpoint into a `Predictor`;
* `Predictor.predict` turns a picture into a `Prediction`.

Importing this package is cheap: torch and timm are imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinlesion_cli.inference.predictor import Prediction, Predictor, load_predictor

__version__ = "0.1.0"
__all__ = ["Prediction", "Predictor", "__version__", "load_predictor"]


def __getattr__(name: str) -> Any:
    if name in {"Prediction", "Predictor", "load_predictor"}:
        from skinlesion_cli.inference import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
