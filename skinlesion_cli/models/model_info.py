"""What is known of a trained classifier beside its weights. No torch here: an exported model needs none."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.limits import MAX_CLASSES, MAX_NAME
from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD, RESIZE_RATIO
from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.common.text import shortened

EXPORTED = (".onnx", ".pt2")
"""Suffixes of exported models."""
LARGEST = 1e9
"""Of a number that describes a model; what is beyond is no description."""
NEEDS_GRADIENTS = "an exported model gives no gradients: name the .pth that it was made from"


@dataclass(frozen=True)
class Preprocessing:
    """What turns a photograph into the model's input."""

    img_size: int
    """Side of the centre crop, in pixels."""
    mean: tuple[float, ...]
    """Of each channel, in [0, 1]."""
    std: tuple[float, ...]
    """Of each channel, above 0."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says of the model that it holds."""

    arch: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    class_counts: dict[str, int] = field(default_factory=dict)
    """Training images of each class; empty where unknown."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The run's settings; empty where unknown."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Validation figures of the epoch that is kept."""
    epoch: int = 0
    """The epoch that is kept, from 1; 0 where unknown."""
    temperature: float = 1.0
    """What the logits are divided by before the softmax; fitted on validation, 1 where it never was."""
    distance_limit: float | None = None
    """Distance from the training images up to which a picture is familiar; None where it is not known."""

    def plain(self) -> dict[str, Any]:
        """The same as plain data, under the keys that `describe` reads."""
        preprocessing = dataclasses.asdict(self.preprocessing) | {"resize_ratio": RESIZE_RATIO}
        return {
            "arch": self.arch,
            "classes": list(self.classes),
            "img_size": self.preprocessing.img_size,
            "preprocessing": {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in preprocessing.items()
            },
            "settings": self.settings,
            "class_counts": self.class_counts,
            "metrics": self.metrics,
            "epoch": self.epoch,
            "temperature": self.temperature,
            "distance_limit": self.distance_limit,
        }


def describe(
    path: Path,
    known: Mapping[str, Any],
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    img_size: int | None = None,
) -> Description:
    """Bring together what a file says of its model and what the caller says.

    Args:
        path: the file, for the errors.
        known: what it says, by key, as `Description.plain` writes it; any key may be missing.
        arch: the backbone, where the file does not say; it must agree where it does.
        classes: the classes in the order of the outputs, likewise.
        img_size: side of the input in pixels, where the file does not say; 256 without either.

    Raises:
        InputError: something is not known, does not agree, or makes no sense.
    """
    agreed_arch: str = _agreed(path, "--arch", _text(known.get("arch") or known.get("model_name")), arch)
    agreed: tuple[str, ...] = _agreed(
        path, "--classes", _classes(path, known), tuple(classes) if classes else None
    )
    return Description(
        arch=agreed_arch,
        classes=agreed,
        preprocessing=_preprocessing(path, known, img_size),
        class_counts=_entries(known, "class_counts", _is_count),
        settings=_entries(known, "settings", _is_setting),
        metrics=_entries(known, "metrics", _is_number),
        epoch=known["epoch"] if _is_count(known.get("epoch")) else 0,
        temperature=_positive(path, known, "temperature") or 1.0,
        distance_limit=_positive(path, known, "distance_limit"),
    )


def _classes(path: Path, known: Mapping[str, Any]) -> tuple[str, ...] | None:
    named = known.get("classes")
    if not isinstance(named, list | tuple) or not named:
        return None
    names = tuple(str(name) for name in named if isinstance(name, str | int))
    sane = len(names) == len(named) <= MAX_CLASSES and len(set(names)) == len(names)
    if not sane or not all(0 < len(name) <= MAX_NAME for name in names):
        raise InputError(
            f"{path} names its classes in a way that makes no sense: they are at most {MAX_CLASSES:,} "
            f"different names of 1 to {MAX_NAME} characters"
        )
    return names


def _entries(known: Mapping[str, Any], key: str, is_sane: Callable[[Any], bool]) -> dict[str, Any]:
    """The names and values that the file has under `key`; what is no such thing is taken as not known."""
    values = _plain_dict(known.get(key)).items()
    return {name: value for name, value in values if isinstance(name, str) and is_sane(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int) and 0 <= value < 10**15


def _is_setting(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _positive(path: Path, known: Mapping[str, Any], key: str) -> float | None:
    value = known.get(key)
    if value is None:
        return None
    if not _is_number(value) or not 0 < value < LARGEST:
        raise InputError(f"{path} has a {key} that makes no sense")
    return float(value)


def _agreed(path: Path, option: str, known: Any, given: Any) -> Any:
    if known is None and given is None:
        raise InputError(f"{path} does not say it: give {option} as the model was trained")
    if known is not None and given is not None and known != given:
        raise InputError(f"{path} disagrees with {option}: it has {_short(known)} and not {_short(given)}")
    return given if known is None else known


def _short(value: Any) -> str:
    return shortened(value) if isinstance(value, str) else f"the {len(value)} classes {first_few(value, 20)}"


def _preprocessing(path: Path, known: Mapping[str, Any], img_size: int | None) -> Preprocessing:
    stored = _plain_dict(known.get("preprocessing"))
    mean, std = stored.get("mean", IMAGENET_MEAN), stored.get("std", IMAGENET_STD)
    size = known.get("img_size", img_size or FIELDS["img_size"].default)
    numbers = [size, *(mean if isinstance(mean, list | tuple) else [None])]
    numbers += std if isinstance(std, list | tuple) else [None]
    # Written so that a NaN makes no sense, too.
    sane = len(numbers) == 7 and all(_is_number(value) and abs(value) < LARGEST for value in numbers)
    if not sane or not min(std) > 0 or size != int(size):
        raise InputError(f"{path} describes a preprocessing that makes no sense")
    if not 1 <= size <= 4096:
        raise InputError(f"{path} says that the model takes images of {int(size)} pixels")
    return Preprocessing(int(size), tuple(map(float, mean)), tuple(map(float, std)))


def _plain_dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
