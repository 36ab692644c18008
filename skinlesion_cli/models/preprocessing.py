"""How a photograph becomes a model's input, as given by the model's file, by the caller, or else by timm.

No torch here: an .onnx needs none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD, PAPER, Resize
from skinlesion_cli.common.settings import FIELDS, choices
from skinlesion_cli.common.text import nearest, quoted

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "nearest")
LARGEST = 1e9
"""Numbers from this one on cannot describe a model."""
_THE_PAPERS = {
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "resize_ratio": PAPER.ratio,
    "interpolation": PAPER.interpolation,
}
_OPTIONS = {"resize_ratio": "crop_pct"}
"""Keys of a file for which the option has another name."""


@dataclass(frozen=True)
class Preprocessing:
    """How a photograph becomes the model's input."""

    img_size: int
    """Side of the square input, in pixels."""
    mean: tuple[float, ...]
    """Per channel, for pixels in [0, 1]."""
    std: tuple[float, ...]
    """Per channel, above 0."""
    resize: Resize = field(default=PAPER)

    def __post_init__(self) -> None:
        if self.resize.fit == "pad":
            # The mean becomes 0 in the model's input, except for rounding: a border without a signal.
            border = tuple(min(max(round(255 * value), 0), 255) for value in self.mean)
            object.__setattr__(self, "resize", replace(self.resize, border=border))

    def plain(self) -> dict[str, Any]:
        """The same as plain data, with the keys of a checkpoint."""
        return {
            "img_size": self.img_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "resize_ratio": self.resize.ratio,
            "interpolation": self.resize.interpolation,
            "fit": self.resize.fit,
        }


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the caller says about the preprocessing of a model whose file does not say it."""

    img_size: int | None = None
    normalization: str | None = None
    """imagenet, or backbone for timm's mean and std."""
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    """Side of the centre crop, relative to the shorter side of the resized photograph."""
    fit: str | None = None
    """How a photograph becomes square: crop, pad or squash."""

    def __post_init__(self) -> None:
        _require_choice("normalization", self.normalization, choices("normalization"))
        _require_choice("interpolation", self.interpolation, INTERPOLATIONS)
        _require_choice("fit", self.fit, choices("fit"))
        for option, values, least in (("mean", self.mean, -LARGEST), ("std", self.std, 0.0)):
            if values is not None and (len(values) != 3 or not all(least < one < LARGEST for one in values)):
                positive = " above 0" if option == "std" else ""
                raise InputError(f"--{option} takes three numbers{positive}, as in --{option} 0.5,0.5,0.5")
        if self.crop_pct is not None and not 0.1 <= self.crop_pct <= 2:
            raise InputError(f"--crop-pct: {self.crop_pct:g} is out of range; it is usually 0.8 to 1")

    def values(self, side: int, backbone: Mapping[str, Any]) -> dict[str, Any]:
        """What is given, with the keys of a checkpoint."""
        found: dict[str, Any] = {}
        if self.normalization is not None:
            source = _THE_PAPERS if self.normalization == "imagenet" else backbone
            if not source:
                raise InputError("--normalization backbone: an exported model names its own; leave it out")
            found = {key: source[key] for key in ("mean", "std")}
        if self.crop_pct is not None:
            found["resize_ratio"] = resize_ratio(side, self.crop_pct)
        found |= {"mean": tuple(map(float, self.mean))} if self.mean is not None else {}
        found |= {"std": tuple(map(float, self.std))} if self.std is not None else {}
        return found | ({"interpolation": self.interpolation} if self.interpolation is not None else {})


def numbers(option: str, text: str | None) -> list[float] | None:
    """The numbers of an option such as --mean 0.5,0.5,0.5; one number stands for all three channels."""
    if text is None:
        return None
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--{option}: {quoted(text)} is not three numbers, such as 0.5,0.5,0.5") from None
    return found * 3 if len(found) == 1 else found


def resize_ratio(side: int, crop_pct: float) -> float:
    """The `Resize.ratio` of timm's `crop_pct`: its shorter side is rounded down."""
    return int(side / crop_pct) / side


def read_preprocessing(
    path: Path,
    known: Mapping[str, Any],
    given: Given,
    *,
    own: bool,
    backbone: Callable[[], Mapping[str, Any]] = dict,
) -> tuple[Preprocessing, list[str]]:
    """The preprocessing, and the keys that neither the file nor the caller gives.

    A file without `fit` is older than this setting, or from another tool: it means crop. Other missing keys
    are the paper's in a file of this package (`own`), and otherwise those of `backbone`, which returns the
    mean, std, interpolation and crop_pct that timm's weights were trained with.

    Raises:
        InputError: an entry is invalid, or disagrees with the caller's.
    """
    found = known.get("preprocessing")
    stored = (
        {key: value for key, value in found.items() if key in _THE_PAPERS} if isinstance(found, dict) else {}
    )
    side = _side(path, known, given)
    asked = given.normalization == "backbone"
    timms = dict(backbone()) if asked or not (own or stored.keys() >= _THE_PAPERS.keys()) else {}
    if "crop_pct" in timms:
        timms["resize_ratio"] = resize_ratio(side, timms["crop_pct"])
    wanted = given.values(side, timms)
    assumed = [key for key in _THE_PAPERS if key not in stored and key not in wanted]
    values = _THE_PAPERS | ({} if own else {key: timms[key] for key in _THE_PAPERS if key in timms})
    fit = found.get("fit", given.fit or PAPER.fit) if isinstance(found, dict) else given.fit or PAPER.fit
    made = _made(path, side, values | wanted | stored | {"fit": fit})
    if given.fit not in (None, fit):
        raise InputError(f"{path} disagrees with --fit: its fit is {fit}")
    for key in stored.keys() & wanted.keys():
        # Ratios agree if they mean the same number of pixels.
        within = 0.5 / side if key == "resize_ratio" else 1e-3
        if not _agree(wanted[key], made.plain()[key], within):
            option = _OPTIONS.get(key, key) if getattr(given, key, True) is not None else "normalization"
            raise InputError(
                f"{path} disagrees with --{option.replace('_', '-')}: its {key} is {_text(stored[key])}"
            )
    return made, assumed


def preprocessing_text(preprocessing: Preprocessing) -> str:
    """The preprocessing other than the side, on one line."""
    mean, std, resize = preprocessing.mean, preprocessing.std, preprocessing.resize
    square = f"crop {1 / resize.ratio:.3g}" if resize.fit == "crop" else f"{resize.fit} to a square"
    return f"mean {_text(mean)}, std {_text(std)}, {resize.interpolation}, {square}"


def _side(path: Path, known: Mapping[str, Any], given: Given) -> int:
    side = known.get("img_size", given.img_size or FIELDS["img_size"].default)
    # Written so that NaN is invalid, too.
    if not is_number(side) or not abs(side) < LARGEST or side != int(side):
        raise InputError(f"{path} has an invalid preprocessing or img_size")
    if not 1 <= side <= 4096:
        raise InputError(f"{path} has an invalid img_size: images of {int(side)} pixels")
    if given.img_size not in (None, side):
        raise InputError(f"{path} disagrees with --img-size: it takes images of {int(side)} pixels")
    return int(side)


def _made(path: Path, side: int, values: Mapping[str, Any]) -> Preprocessing:
    mean, std, ratio = values["mean"], values["std"], values["resize_ratio"]
    listed = all(isinstance(one, list | tuple) and len(one) == 3 for one in (mean, std))
    numbers: list[Any] = [*mean, *std, ratio] if listed else [None]
    valid = all(is_number(value) and abs(value) < LARGEST for value in numbers)
    choices_valid = values["interpolation"] in INTERPOLATIONS and values["fit"] in choices("fit")
    if not valid or not min(std) > 0 or not choices_valid:
        raise InputError(f"{path} has an invalid preprocessing or img_size")
    if not 0.5 <= ratio <= 10:
        raise InputError(f"{path} has an invalid preprocessing: a resize ratio of {ratio:g}")
    resize = Resize(float(ratio), values["interpolation"], values["fit"])
    return Preprocessing(side, tuple(map(float, mean)), tuple(map(float, std)), resize)


def is_number(value: Any) -> bool:
    """Whether a value of a file is a number, which may be NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _agree(one: Any, other: Any, within: float) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    pairs = zip(one, other, strict=True) if isinstance(one, Sequence) else [(one, other)]
    return all(abs(a - b) <= within for a, b in pairs)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(f"{one:g}" for one in value)
    return f"{value:g}" if is_number(value) else str(value)


def _require_choice(name: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise InputError(f"--{name}: {quoted(value)} is not one of {', '.join(known)}{nearest(value, known)}")
