"""Every setting with its default, range and meaning: the one place for each.

The command-line options, the environment variables, the keys of a config file and the table in the docs are
all made from the fields of `Settings`. Precedence: option, environment, `.env`, config file, default.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import nearest, quoted, shortened

ENV_PREFIX = "SKINLESION_"
OPTION = "the command line"
"""The origin of values that were given as options."""


@dataclass(frozen=True)
class Spec:
    """What a setting has beside its type, range and default."""

    help: str
    flags: tuple[str, ...] = ()
    automatic: str = ""
    """What an unset value means, for settings whose default is None."""
    resumable: bool = False
    """Whether `--resume` may change it."""
    per_machine: bool = False
    """Whether the machines of one distributed run may set it differently."""


class Settings(BaseModel):
    """The settings of a run, under the paper's names in lower case.

    Every way to make one checks the values: `Settings(epochs=3)`, `settings.model_copy(update={"epochs": 3})`
    and `resolve`.

    Raises:
        InputError: an unknown name, or a value of the wrong type or out of range.
    """

    # The schema is built at the first use, so that --help does not pay for it. "model_arch" is no clash.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, protected_namespaces=())

    data_root: Annotated[
        Path,
        Spec(
            "Folder with train/, val/ and test/, each with one folder per class.",
            ("--data", "--data-root"),
            resumable=True,
            per_machine=True,
        ),
    ] = Path("data")
    model_arch: Annotated[str, Spec("Backbone: any timm model name.", ("--arch", "--model-arch"))] = (
        "mobilevitv2_100"
    )
    img_size: Annotated[int, Field(ge=32, le=2048), Spec("Side of the square model input, in pixels.")] = 256
    pretrained: Annotated[
        bool, Spec("Start from ImageNet weights, downloaded once from the hub and cached.", resumable=True)
    ] = True
    init_weights: Annotated[
        Path | None,
        Spec(
            "Start from a .pth or .safetensors file of the same backbone, with any number of classes.",
            automatic="not used",
            resumable=True,
            per_machine=True,
        ),
    ] = None
    normalization: Annotated[
        Literal["imagenet", "backbone"],
        Spec("Input mean and std: ImageNet's (as in the paper), or those the backbone was trained with."),
    ] = "imagenet"
    batch_size: Annotated[int, Field(ge=1, le=65536), Spec("Batch size per process.")] = 32
    accumulate: Annotated[
        int,
        Field(ge=1, le=65536),
        Spec("Gradient accumulation steps: batches per process and optimiser step.", resumable=True),
    ] = 1
    epochs: Annotated[
        int,
        Field(ge=1, le=100_000),
        Spec("Maximum number of epochs; also the length of the cosine schedule."),
    ] = 60
    learning_rate: Annotated[
        float, Field(gt=0, le=10), Spec("Initial learning rate of AdamW.", ("--learning-rate", "--lr"))
    ] = 3e-4
    weight_decay: Annotated[float, Field(ge=0, le=10), Spec("Weight decay of AdamW.")] = 0.05
    grad_clip_norm: Annotated[
        float, Field(ge=0, le=1e9), Spec("Maximum norm of the gradient; 0 turns clipping off.")
    ] = 1.0
    patience: Annotated[
        int,
        Field(ge=0, le=10**9),
        Spec(
            "Early stopping: epochs without a better validation weighted F1; 0 turns it off.", resumable=True
        ),
    ] = 10
    sampler_alpha: Annotated[
        float,
        Field(ge=0, le=1),
        Spec(
            "Class i is sampled with probability n_i^alpha / sum_j n_j^alpha: 0 is uniform, 1 by frequency.",
            ("--sampler-alpha", "--alpha"),
        ),
    ] = 0.5
    loss_beta: Annotated[
        float,
        Field(ge=0, le=1),
        Spec(
            "Loss weights by the Effective Number of Samples: 0 is unweighted, 1 the inverse frequency.",
            ("--loss-beta", "--beta"),
        ),
    ] = 0.999
    epoch_size_mult: Annotated[
        float,
        Field(gt=0, le=1000),
        Spec("Images sampled per epoch, as a multiple of the number of training images."),
    ] = 1.5
    save_every: Annotated[
        int,
        Field(ge=0, le=10**9),
        Spec("Also write last.pth every so many steps; 0 writes it after each epoch only.", resumable=True),
    ] = 0
    on_bad_image: Annotated[
        Literal["fail", "skip"],
        Spec(
            "Unreadable images: stop, or decode all images first and leave these out (exit code 1).",
            resumable=True,
        ),
    ] = "fail"
    num_workers: Annotated[
        int | None,
        Field(ge=0, le=256),
        Spec(
            "Worker processes that load images (threads when scoring).",
            automatic="one per CPU core, at most 8",
            resumable=True,
            per_machine=True,
        ),
    ] = None
    pin_memory: Annotated[
        bool, Spec("Pin host memory for faster copies to a CUDA device.", resumable=True, per_machine=True)
    ] = True
    cache: Annotated[
        Literal["auto", "off", "disk", "ram"],
        Spec(
            "Cache of downscaled training images: in memory, or in a file in your cache folder.",
            resumable=True,
            per_machine=True,
        ),
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Spec("Compute device.", resumable=True)] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Spec(
            "Precision. auto: mixed precision in training where it is fast, fp32 for scores and predictions."
        ),
    ] = "auto"
    sync_batchnorm: Annotated[bool, Spec("Synchronise batch normalisation across processes; CUDA only.")] = (
        False
    )
    compile: Annotated[
        bool, Spec("Compile the model with torch.compile: for GPUs; takes minutes to start.", resumable=True)
    ] = False
    seed: Annotated[int, Field(ge=0, le=2**32 - 1), Spec("Random seed.")] = 42

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """A copy with other values; unlike pydantic's own, checked."""
        return type(self)(**self.model_dump() | dict(update or {}))

    @field_validator("*", mode="before")
    @classmethod
    def _keep_types(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic would take true, 1.0 and "1.0" for the whole number 1: in a config file each is a mistake.
        kind = value_type(info.field_name or "")
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
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _word_faults(cls, data: Any, validate: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        try:
            return validate(data)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            raise InputError(_fault_text(cast(dict[str, Any], fault), info.context)) from None


FIELDS = Settings.model_fields


def spec(name: str) -> Spec:
    """The `Spec` of a setting, with its flags filled in."""
    found = next(part for part in FIELDS[name].metadata if isinstance(part, Spec))
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
    return get_args(hint) if get_origin(hint) is Literal else ()


def default_text(name: str) -> str:
    """The default as people read it."""
    default = FIELDS[name].default
    if default is None:
        return spec(name).automatic
    return str(default).lower() if isinstance(default, bool) else str(default)


def resolve(
    options: Mapping[str, Any],
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    dotenv: Path = Path(".env"),
) -> Settings:
    """Take each setting from the first of: option, environment, `.env`, config file, default.

    Args:
        options: values given on the command line; None is "not given".
        config: a TOML file whose keys are names of settings.
        environ: the environment; `os.environ` by default.
        dotenv: a file of `SKINLESION_NAME=value` lines; it may be missing. Other names in it are ignored.

    Raises:
        InputError: an unknown key, a value of the wrong type or out of range; the message names its origin.
    """
    from skinlesion_cli.common.setting_sources import read_config, read_dotenv, read_environment

    values: dict[str, Any] = {}
    for source, origin in (
        (read_config(config), str(config)),
        (read_dotenv(dotenv), str(dotenv)),
        (read_environment(environ), "the environment"),
        ({name: value for name, value in options.items() if value is not None}, OPTION),
    ):
        # Each source is checked by itself: a message can name it, and no mistake hides behind another.
        values |= Settings.model_validate(source, context=origin).model_dump(exclude_unset=True)
    return Settings(**values)


def checked(name: str, value: Any, origin: str = OPTION) -> Any:
    """Convert one value to the type of the setting `name` and check its range.

    Raises:
        InputError: it is invalid; the message names the setting, the value and `origin`.
    """
    return getattr(Settings.model_validate({name: value}, context=origin), name)


def to_toml(settings: Settings, processes: int = 1) -> str:
    """The settings as a config file that works from any folder, headed by the command to use it with."""
    import tomli_w

    values: dict[str, Any] = {}
    for name, value in settings:
        if isinstance(value, Path):
            value = str(value.absolute())
        if value is not None:
            values[name] = value
    command = "skinlesion" if processes == 1 else f"torchrun --nproc-per-node {processes} -m skinlesion_cli"
    return (
        f"# Reproduce this run: {command} train --config settings.toml --out ANOTHER_FOLDER\n"
        + tomli_w.dumps(values)
    )


_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    Path: "a path in UTF-8",
}
_BOUNDS = {"greater_than": "above", "greater_than_equal": "at least", "less_than_equal": "at most"}


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
    if kind == "literal_error":
        return f"{label}: {value} is not one of {', '.join(choices(name))}"
    return f"{label}: {value} is not {_KINDS[value_type(name)]}"


def _shown(value: Any) -> str:
    try:
        return quoted(value) if isinstance(value, str) else shortened(repr(value))
    # A number of thousands of digits has no decimal form, a deep list no form at all.
    except (ValueError, RecursionError):
        return f"this {type(value).__name__}"
