"""Every setting with its default, range and meaning: the one place for each.

The command-line options, the environment variables, the keys of a config file and the table in the docs are
all made from the fields of `Settings`. Precedence: option, environment, `.env`, config file, default.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError, ValidationInfo, field_validator, model_validator

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.extras import TRACKERS
from skinlesion_cli.common.recipes import RECIPES
from skinlesion_cli.common.setting_spec import (
    BALANCE,
    DATA,
    FRACTION,
    LOCAL,
    MACHINE,
    MODEL,
    OPTIMISATION,
    RESUMABLE,
    RUN,
    Spec,
    setting,
)
from skinlesion_cli.common.text import nearest, quoted, shortened

ENV_PREFIX = "SKINLESION_"
OTHER_VARIABLES = ("SKINLESION_CHECKPOINT", "SKINLESION_OUT")
"""Environment variables of options that are not settings."""
OPTION = "the command line"
"""The origin of values that were given as options."""


class Settings(BaseModel):
    """The settings of a run, under the paper's names in lower case.

    Raises:
        InputError: an unknown name, or a value of the wrong type or out of range.
    """

    # The schema is built at the first use, so that --help does not pay for it.
    model_config = {"frozen": True, "extra": "forbid", "defer_build": True, "protected_namespaces": ()}

    data_root: Path = setting(
        DATA,
        Path("data"),
        "Folder with train/, val/ and test/, each with one folder per class; or a table (file,label,split).",
        "--data --data-root",
        **LOCAL,
    )
    images_root: Path | None = setting(
        DATA,
        None,
        "Folder that the files of a table are relative to.",
        "--images --images-root",
        automatic="the table's folder",
        **LOCAL,
    )
    recipe: Literal["paper", "plain", "long-tail"] = setting(
        RUN, "paper", "Named set of settings, which all other sources of settings override."
    )
    model_arch: str = setting(
        MODEL,
        "mobilevitv2_100",
        "Backbone: any timm model name; or hf-hub:ORG/NAME or local-dir:PATH, to start from that model.",
        "--arch --model-arch",
    )
    img_size: int = setting(MODEL, 256, "Side of the square model input, in pixels.", ge=32, le=2048)
    pretrained: bool = setting(
        MODEL, True, "Start from ImageNet weights, downloaded once from the hub and cached.", **RESUMABLE
    )
    init_weights: Path | None = setting(
        MODEL,
        None,
        "Start from a weights file or folder of the same backbone, or hf-hub:ORG/NAME; with any classes.",
        automatic="not used",
        **LOCAL,
    )
    init_ema: bool = setting(
        MODEL,
        False,
        "Start from the averaged weights (EMA), if --init-weights contains both sets of weights.",
        "--ema",
        **RESUMABLE,
    )
    normalization: Literal["imagenet", "backbone"] = setting(
        MODEL,
        "imagenet",
        "Input mean and std: ImageNet's (as in the paper), or those that the backbone was trained with.",
    )
    batch_size: int = setting(OPTIMISATION, 32, "Batch size per process.", ge=1, le=65536)
    accumulate: int = setting(
        OPTIMISATION,
        1,
        "Gradient accumulation steps: batches per process and optimiser step.",
        ge=1,
        le=65536,
        **RESUMABLE,
    )
    epochs: int = setting(
        OPTIMISATION,
        60,
        "Maximum number of epochs; also the length of the cosine schedule.",
        ge=1,
        le=100_000,
    )
    learning_rate: float = setting(
        OPTIMISATION, 3e-4, "Initial learning rate of AdamW.", "--learning-rate --lr", gt=0, le=10
    )
    weight_decay: float = setting(OPTIMISATION, 0.05, "Weight decay of AdamW.", ge=0, le=10)
    grad_clip_norm: float = setting(
        OPTIMISATION, 1.0, "Maximum norm of the gradient; 0 turns clipping off.", ge=0, le=1e9
    )
    decay_norm: bool = setting(OPTIMISATION, True, "Weight decay also for biases and normalisation layers.")
    layer_decay: float = setting(
        OPTIMISATION,
        1.0,
        "Learning rate of a layer, relative to the layer above it; 1 is the same for all.",
        gt=0,
        le=1,
    )
    warmup_epochs: int = setting(
        OPTIMISATION,
        0,
        "Epochs of linear warm-up of the learning rate, before the cosine schedule.",
        ge=0,
        le=100_000,
    )
    ema_decay: float = setting(
        OPTIMISATION,
        0.0,
        "Keep an exponential moving average (EMA) of the weights, with this decay per step; 0 turns it off.",
        ge=0,
        lt=1,
    )
    freeze_backbone: bool = setting(MODEL, False, "Train only the classification head.")
    patience: int = setting(
        OPTIMISATION,
        10,
        "Early stopping: epochs without a better validation score; 0 turns it off.",
        ge=0,
        le=10**9,
        **RESUMABLE,
    )
    select: Literal["weighted-f1", "macro-f1", "balanced-accuracy", "weighted-auc", "loss"] = setting(
        OPTIMISATION, "weighted-f1", "Validation score that selects the epoch and controls early stopping."
    )
    sampler_alpha: float = setting(
        BALANCE,
        0.5,
        "Class i is sampled with probability n_i^alpha / sum_j n_j^alpha: 0 is uniform, 1 by frequency.",
        "--sampler-alpha --alpha",
        **FRACTION,
    )
    loss_beta: float = setting(
        BALANCE,
        0.999,
        "Loss weights by the Effective Number of Samples: 0 is unweighted, 1 the inverse frequency.",
        "--loss-beta --beta",
        **FRACTION,
    )
    deferred_weighting: int = setting(
        BALANCE,
        0,
        "Weight sampling and loss only from this epoch on; earlier epochs are unweighted.",
        ge=0,
        le=100_000,
    )
    logit_adjustment: float = setting(
        BALANCE,
        0.0,
        "Add TAU times the log prior of each class to its logit in the loss (Menon et al., 2021).",
        ge=0,
        le=10,
    )
    label_smoothing: float = setting(
        BALANCE, 0.0, "Share of each label that is spread over all classes.", ge=0, lt=1
    )
    mixup: float = setting(
        DATA, 0.0, "Mix pairs of images, with shares from Beta(A, A); 0 turns it off.", ge=0, le=10
    )
    cutmix: float = setting(
        DATA,
        0.0,
        "Exchange a box between pairs of images, with shares from Beta(A, A); 0 turns it off.",
        ge=0,
        le=10,
    )
    fit: Literal["crop", "pad", "squash"] = setting(
        DATA,
        "crop",
        "How an image becomes square: centre crop (as in the paper), padding with a border, or squashing.",
    )
    augment: Literal["paper", "strong"] = setting(
        DATA, "paper", "Augmentation; strong: smaller crops, rotations by any angle, more colour jitter."
    )
    epoch_size_mult: float = setting(
        BALANCE,
        1.5,
        "Images sampled per epoch, as a multiple of the number of training images.",
        gt=0,
        le=1000,
    )
    save_every: int = setting(
        RUN,
        0,
        "Also write last.pth every N steps; 0: only after each epoch.",
        ge=0,
        le=10**9,
        **RESUMABLE,
    )
    on_bad_image: Literal["fail", "skip"] = setting(
        DATA,
        "fail",
        "Unreadable images: stop, or decode all images first and leave these out (exit code 1).",
        **RESUMABLE,
    )
    num_workers: int | None = setting(
        MACHINE,
        None,
        "Worker processes that load images (threads when scoring).",
        automatic="one per CPU core, at most 8",
        ge=0,
        le=256,
        **LOCAL,
    )
    pin_memory: bool = setting(MACHINE, True, "Pin host memory for faster copies to a CUDA device.", **LOCAL)
    cache: Literal["auto", "off", "disk", "ram"] = setting(
        MACHINE,
        "auto",
        "Cache of downscaled training images: in memory, or in a file in your cache folder.",
        **LOCAL,
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = setting(MACHINE, "auto", "Compute device.", **RESUMABLE)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        MACHINE,
        "auto",
        "Precision. auto: mixed precision in training where it is fast, fp32 for scores and predictions.",
    )
    sync_batchnorm: bool = setting(
        MACHINE, False, "Synchronise batch normalisation across processes; CUDA only."
    )
    compile: bool = setting(
        MACHINE,
        False,
        "Compile the model with torch.compile: for GPUs; takes minutes to start.",
        **RESUMABLE,
    )
    seed: int = setting(RUN, 42, "Random seed.", ge=0, le=2**32 - 1)
    figures: Literal["png", "pdf", "svg"] = setting(RUN, "png", "Format of the figures.", **RESUMABLE)
    track: str | None = setting(
        RUN,
        None,
        "Also log the run to this experiment tracker; can be repeated, or a comma-separated list.",
        automatic="none",
        names=tuple(TRACKERS),
        **LOCAL,
    )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """A copy with other values; unlike pydantic's own, checked."""
        return type(self)(**self.model_dump() | dict(update or {}))

    @field_validator("*", mode="before")
    @classmethod
    def _keep_types(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic would accept true, 1.0 and "1.0" as the integer 1; in a config file, each is a mistake.
        kind, names = value_type(info.field_name or ""), spec(info.field_name or "").names
        if names and isinstance(value, list | tuple):
            value = ",".join(map(str, value)) or None
        if (isinstance(value, bool) and kind is not bool) or (isinstance(value, float) and kind is not float):
            raise ValueError
        if kind is bool and isinstance(value, str):
            return value.strip()
        if kind in (int, float) and isinstance(value, str | float):
            value = kind(value)
            if value != value:
                raise ValueError
        if kind in (str, Path) and value is not None:
            if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
                raise ValueError
            # UnicodeEncodeError is a ValueError: the run's settings.toml could not hold such a name.
            str(value).encode()
        if names and value is not None:
            listed = dict.fromkeys(one.strip() for one in str(value).split(","))
            if not set(listed) <= set(names):
                raise ValueError
            value = ",".join(listed)
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _word_faults(cls, data: Any, validate: Callable[[Any], Self], info: ValidationInfo) -> Self:
        try:
            # The values of one source are checked with a context, and do not get those of the recipe.
            if info.context is None and isinstance(data, dict):
                data = {**RECIPES.get(str(data.get("recipe")), {}), **data}
            return validate(data)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            raise InputError(_fault_text(cast(dict[str, Any], fault), info.context)) from None


FIELDS = Settings.model_fields


def spec(name: str) -> Spec:
    """The `Spec` of a setting, with its flags filled in."""
    found: Spec = cast(dict[str, Any], FIELDS[name].json_schema_extra)["spec"]
    return found if found.flags else replace(found, flags=("--" + name.replace("_", "-"),))


def value_type(name: str) -> type:
    """The type of a set value: int, float, bool, str or Path."""
    hint: Any = FIELDS[name].annotation
    if isinstance(hint, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    return str if get_origin(hint) is Literal else cast(type, hint)


def choices(name: str) -> tuple[str, ...]:
    """The values to choose from, for settings that have a list of them."""
    hint = FIELDS[name].annotation
    return get_args(hint) if get_origin(hint) is Literal else spec(name).names


def default_text(name: str) -> str:
    """The default as the help and the docs show it."""
    default = FIELDS[name].default
    if default is None:
        return spec(name).automatic
    return str(default).lower() if isinstance(default, bool) else str(default)


def checked(name: str, value: Any, origin: str = OPTION) -> Any:
    """One value, converted to the type of the setting `name`; an `InputError` names it and its `origin`."""
    return getattr(Settings.model_validate({name: value}, context=origin), name)


def to_toml(settings: Settings, processes: int = 1) -> str:
    """The settings as a config file that works from any folder, headed by the command to use it with."""
    import tomli_w

    values = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in settings
        if value is not None
    }
    command = "skinlesion" if processes == 1 else f"torchrun --nproc-per-node {processes} -m skinlesion_cli"
    heading = f"# Reproduce this run: {command} train --config settings.toml --out ANOTHER_FOLDER\n"
    return heading + tomli_w.dumps(values)


_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    Path: "a path in UTF-8",
}
_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}


def _fault_text(fault: Mapping[str, Any], origin: str | None) -> str:
    """One line about a fault that pydantic found: which setting, where it was set, and what is allowed."""
    name, kind = str(fault["loc"][0]), fault["type"]
    if kind == "extra_forbidden":
        return f"{origin or 'Settings'}: unknown setting {quoted(name)}{nearest(name, FIELDS)}"
    label = spec(name).flags[0] if origin == OPTION else f"{name} in {origin}" if origin else name
    value = _shown(fault["input"])
    if kind in _BOUNDS:
        (bound,) = fault["ctx"].values()
        return f"{label}: {value} is out of range; it must be {_BOUNDS[kind]} {bound:g}"
    if kind == "literal_error" or spec(name).names:
        return f"{label}: {value} is not one of {', '.join(choices(name))}"
    return f"{label}: {value} is not {_KINDS[value_type(name)]}"


def _shown(value: Any) -> str:
    try:
        return quoted(value) if isinstance(value, str) else shortened(repr(value))
    # A number with thousands of digits cannot be printed in decimal, and a deeply nested list not at all.
    except (ValueError, RecursionError):
        return f"this {type(value).__name__}"
