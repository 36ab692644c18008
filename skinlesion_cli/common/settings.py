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
    converted,
    setting,
)

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
        name = info.field_name or ""
        return converted(value, value_type(name), spec(name).names)

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
            # Not at the top: that module needs the fields.
            from skinlesion_cli.common.setting_faults import fault_text

            raise InputError(fault_text(cast(dict[str, Any], fault), info.context)) from None


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
