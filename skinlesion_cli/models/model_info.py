"""The description of a trained classifier, without its weights. No torch here: an .onnx needs none."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.files import CORE_ML, is_folder
from skinlesion_cli.common.limits import MAX_CLASSES, MAX_NAME
from skinlesion_cli.common.text import shortened
from skinlesion_cli.data.class_balance import effective_prior
from skinlesion_cli.models.class_names import distinct_names
from skinlesion_cli.models.preprocessing import (
    LARGEST,
    Given,
    is_number,
    preprocessing_text,
    read_preprocessing,
)
from skinlesion_cli.models.preprocessing import Preprocessing as Preprocessing
from skinlesion_cli.models.timm_folder import backbone_named, located, weights_in

BEST_MODEL = Path("checkpoints/best_model.pth")
"""The model of a run, relative to the run's folder."""
EXPORTED = (".onnx", ".pt2", ".pte", CORE_ML)
"""Suffixes of exported models."""


def model_in(path: Path) -> Path:
    """The model of a run or of timm, if `path` is its folder, or the run's checkpoints/; otherwise `path`.

    `local-dir:PATH` and `hf-hub:ORG/NAME` are names of timm folders (see `located`).
    """
    path = located(path)
    # A Core ML model is a folder too.
    if not is_folder(path) or path.suffix.lower() == CORE_ML:
        return path
    inside = path / BEST_MODEL.name
    if inside.is_file() or (path / BEST_MODEL).is_file():
        return inside if inside.is_file() else path / BEST_MODEL
    return weights_in(path) or path / BEST_MODEL


def models_in(path: Path) -> list[Path]:
    """Like `model_in`; for a folder of runs, such as a study's method, the model of each."""
    one = model_in(path)
    if not is_folder(path) or one.is_file():
        return [one]
    return sorted(path.glob(f"*/{BEST_MODEL}")) or [one]


def refuse_unloadable(path: Path) -> None:
    """InputError for an exported model that no command runs, by its suffix."""
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        raise InputError(
            f"{path}: PyTorch's loader of .pt2 files can run code from the file, so no command loads one; "
            "use the .pth, or an .onnx"
        )
    if suffix == CORE_ML:
        raise InputError(
            f"{path} is a Core ML model, a folder that only Apple devices run; use the .pth, or an .onnx"
        )
    if suffix in EXPORTED and suffix != ".onnx":
        raise InputError(f"{path}: of the exported formats, only .onnx runs here; use that, or the .pth")


@dataclass(frozen=True, kw_only=True)
class Description:
    """The metadata of a model, as in its file."""

    arch: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    class_counts: dict[str, int] = field(default_factory=dict)
    """Number of training images per class; empty if unknown."""
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """Validation metrics of the selected epoch."""
    epoch: int = 0
    """The selected epoch, from 1; 0 if unknown."""
    temperature: float = 1.0
    """The logits are divided by it before the softmax; fitted on validation, 1 if it never was."""
    distance_limit: float | None = None
    """Distance from the training images above which an image is out-of-distribution; None if unknown."""
    false_alarm_rate: float | None = None
    """Expected share of images like the training images above that distance; None if unknown."""
    notes: tuple[str, ...] = ()
    """What a user should know about how the file was read; not part of the file."""

    def trained_prior(self) -> list[float]:
        """The class prior that its probabilities assume: `effective_prior` to the power 1 - τ.

        Raises:
            InputError: the file does not say how it was trained.
        """
        alpha, beta = (self.settings.get(name) for name in ("sampler_alpha", "loss_beta"))
        tau = self.settings.get("logit_adjustment", 0.0)
        counts = [self.class_counts.get(name, 0) for name in self.classes]
        known = all(isinstance(one, int | float) and 0 <= one <= 10 for one in (alpha, beta, tau))
        if not known or min(counts) < 1:
            raise InputError(
                f"the model ({self.arch}) does not say how many training images its classes had and how they "
                "were weighted: another prior needs both"
            )
        prior = effective_prior(counts, float(alpha or 0), float(beta or 0))
        powers = [share ** (1 - float(tau)) for share in prior]
        return [power / sum(powers) for power in powers]

    def plain(self) -> dict[str, Any]:
        """The same as plain data, with the keys that `describe` reads."""
        plain = {one.name: getattr(self, one.name) for one in dataclasses.fields(Description)}
        del plain["notes"]
        stored = self.preprocessing.plain()
        return plain | {
            "classes": list(self.classes),
            "img_size": self.preprocessing.img_size,
            "preprocessing": stored,
        }


def describe(
    path: Path,
    known: Mapping[str, Any],
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    backbone: Callable[[str], Mapping[str, Any]] | None = None,
    **given: Any,
) -> Description:
    """Read the metadata `known`, as `Description.plain` writes them, completed by what the caller knows.

    Any key may be missing. If the file has an entry, the caller's must agree. `arch` may also name a timm
    folder or a model on the hub with this backbone. `given` are the fields of `Given`. What neither says
    about the preprocessing is taken from `backbone` (see `read_preprocessing`).

    Raises:
        InputError: an entry is missing, invalid, or disagrees with the caller's.
    """
    named = known.get("arch") or known.get("model_name")
    arch = backbone_named(arch) if arch else arch
    found = _agreed(path, "--arch", named if isinstance(named, str) else None, arch)
    names = _agreed(path, "--classes", _classes(path, known), distinct_names(classes) or None)
    if len(names) < 2:
        raise InputError(
            f"{path}: one class ({shortened(names[0])}) is not enough; a model with one output, for a "
            "sigmoid, has two, as in --classes benign,malignant (the sigmoid is that of the second)"
        )
    own = str(known.get("format")).startswith("skinlesion-")
    # The keys that the paper's code saves.
    papers = {"model", "classes", "model_name"} <= known.keys()
    timms = partial(backbone, found) if backbone else dict
    preprocessing, assumed = read_preprocessing(
        path, known, Given(**given), own=own or papers, backbone=timms
    )
    whose = "in the paper's code, which saves such files" if papers else f"for timm's {found}"
    note = (
        f"{path.name} does not say how its images were prepared, so as {whose}: "
        f"{preprocessing_text(preprocessing)}; --normalization, --mean, --std, --interpolation and "
        "--crop-pct change it"
    )
    return Description(
        arch=found,
        classes=names,
        preprocessing=preprocessing,
        notes=(note,) if assumed and backbone and not own else (),
        class_counts=_entries(known, "class_counts", _is_count),
        settings=_entries(
            known, "settings", lambda value: value is None or isinstance(value, str | int | float)
        ),
        metrics=_entries(known, "metrics", is_number),
        epoch=known["epoch"] if _is_count(known.get("epoch")) else 0,
        temperature=_positive(path, known, "temperature") or 1.0,
        distance_limit=_positive(path, known, "distance_limit"),
        false_alarm_rate=_positive(path, known, "false_alarm_rate"),
    )


def from_json(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The entries of a file's metadata, decoded from JSON; text that is not JSON stays text."""
    known: dict[str, Any] = dict(metadata)
    for key, text in metadata.items():
        # Not JSON, a number with thousands of digits, or extremely nested lists.
        with suppress(ValueError, RecursionError):
            known[key] = json.loads(text)
    return known


def _classes(path: Path, known: Mapping[str, Any]) -> tuple[str, ...] | None:
    named = known.get("classes")
    if not isinstance(named, list | tuple) or not named:
        return None
    names = tuple(str(name) for name in named if isinstance(name, str | int))
    valid = len(set(names)) == len(named) <= MAX_CLASSES
    if not valid or not all(0 < len(name) <= MAX_NAME for name in names):
        expected = f"at most {MAX_CLASSES:,} different names of 1 to {MAX_NAME} characters"
        raise InputError(f"{path} has invalid class names: expected {expected}")
    return names


def _entries(known: Mapping[str, Any], key: str, is_valid: Callable[[Any], bool]) -> dict[str, Any]:
    """The valid names and values that the file has under `key`; others count as unknown."""
    values = known.get(key)
    entries = values.items() if isinstance(values, dict) else ()
    return {name: value for name, value in entries if isinstance(name, str) and is_valid(value)}


def _is_count(value: Any) -> bool:
    return is_number(value) and isinstance(value, int) and 0 <= value < 10**15


def _positive(path: Path, known: Mapping[str, Any], key: str) -> float | None:
    value = known.get(key)
    if value is None:
        return None
    if not is_number(value) or not 0 < value < LARGEST:
        raise InputError(f"{path} has an invalid {key}")
    return float(value)


def _agreed(path: Path, option: str, known: Any, given: Any) -> Any:
    if known is None and given is None:
        raise InputError(f"{path} does not say how the model was trained: give {option}")
    if known is not None and given is not None and known != given:
        has, wanted = (
            shortened(value) if isinstance(value, str) else f"the {len(value)} classes {first_few(value, 20)}"
            for value in (known, given)
        )
        raise InputError(f"{path} disagrees with {option}: it has {has}, not {wanted}")
    return given if known is None else known
