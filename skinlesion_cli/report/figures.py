"""Numbers formatted for people: labels, digits, and a dash for what is undefined."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from skinlesion_cli.common.text import probability_text as probability_text

LABELS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "weighted_f1": "Weighted F1",
    "macro_f1": "Macro F1",
    "weighted_auc": "Weighted AUC",
    "loss": "Loss (cross-entropy)",
}
CALIBRATION = {
    "nll": "Negative log-likelihood",
    "brier": "Brier score",
    "ece": "ECE, equal-width bins",
    "ece_equal_mass": "ECE, equal-mass bins",
}
OPERATING_POINTS = {
    "decision": "predicted class",
    "specificity_95": "at 95% specificity",
    "sensitivity_90": "at 90% sensitivity",
    "youden": "at Youden's index",
    "validation": "chosen on validation",
}

SPLIT_TITLES = {"train": "training", "val": "validation", "test": "test"}
UNDEFINED = "–"


def split_title(split: str) -> str:
    """The name of a split in a sentence."""
    return SPLIT_TITLES.get(split, split)


def figure(value: float | None, digits: int = 4) -> str:
    """A number, or a dash if it is undefined."""
    return UNDEFINED if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(ends: Sequence[float] | None, digits: int = 3) -> str:
    """An interval in brackets; empty without one."""
    return f"[{figure(ends[0], digits)}, {figure(ends[1], digits)}]" if ends else ""


def interval_of(document: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """The 95% interval of a score in an evaluation document, if any."""
    ends = (document.get("ci95") or {}).get(name)
    return (float(ends[0]), float(ends[1])) if ends else None


def count_of(document: Mapping[str, Any], name: str) -> int | None:
    """How many images or groups the exact interval of a score counts; None for a bootstrap interval."""
    found = (document.get("exact_n") or {}).get(name)
    return None if found is None else int(found)


def method(document: Mapping[str, Any]) -> str:
    """How the intervals of an evaluation document were computed."""
    exact = f"; with n: exact (Clopper–Pearson), from n {document['resampling_unit']}"
    return f"{document['ci95_method']}{exact if _has_exact(document) else ''}"


def _has_exact(document: Any) -> bool:
    if isinstance(document, Mapping):
        return bool(document.get("exact_n")) or any(map(_has_exact, document.values()))
    return isinstance(document, list) and any(map(_has_exact, document))


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent, or a dash if it is undefined."""
    return UNDEFINED if value is None or math.isnan(value) else f"{100 * value:.{digits}f}%"


def number(value: float) -> str:
    """A count with a thin space between thousands."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def whole_percent(share: float) -> str:
    """A share in whole percent, without the sign; a share above 0 is never shown as 0."""
    text = f"{100 * share:.0f}"
    return "<1" if text == "0" and share > 0 else text
