"""Every setting, its default, its range and its meaning: the one place for each.

The command-line options, the environment variables, the keys of a config file and the table in the docs are
all made from the fields of `Settings`. Precedence: option, environment, `.env`, config file, default.
"""

import dataclasses
import io
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import read_text
from skinlesion_cli.common.text import nearest, quoted, shortened

ENV_PREFIX = "SKINLESION_"


@dataclass(frozen=True)
class Spec:
    """What is known of a setting beside its type and default."""

    help: str
    flags: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    automatic: str = ""
    """What an unset value means, for settings whose default is None."""
    resumable: bool = False
    """Whether `--resume` may change it without making it another run."""
    per_machine: bool = False
    """Whether machines of one run may set it differently without training differently."""


def _setting(default: Any, help: str, *flags: str, **bounds: Any) -> Any:
    return dataclasses.field(default=default, metadata={"spec": Spec(help, flags, **bounds)})


@dataclass(frozen=True)
class Settings:
    """The settings of a run, under the paper's names in lower case."""

    data_root: Path = _setting(
        Path("data"),
        "Folder with train/, val/ and test/, one folder a class in each.",
        "--data",
        "--data-root",
        resumable=True,
        per_machine=True,
    )
    model_arch: str = _setting("mobilevitv2_100", "Backbone: any timm name.", "--arch", "--model-arch")
    img_size: int = _setting(256, "Side of the square that the model sees, in pixels.", low=32, high=2048)
    pretrained: bool = _setting(
        True, "Start from ImageNet weights; fetched once from the hub, then cached.", resumable=True
    )
    init_weights: Path | None = _setting(
        None,
        "Start from this .pth or .safetensors of the same backbone, whatever its number of classes.",
        automatic="not used",
        resumable=True,
        per_machine=True,
    )
    normalization: str = _setting(
        "imagenet",
        "Mean and std of the input: ImageNet's (the paper), or what the backbone was trained with.",
        choices=("imagenet", "backbone"),
    )
    batch_size: int = _setting(
        32, "Images a step; with several processes or --accumulate, of each and each time.", low=1, high=65536
    )
    accumulate: int = _setting(
        1,
        "Batches whose gradients make one step: the gradient of their union.",
        low=1,
        high=65536,
        resumable=True,
    )
    epochs: int = _setting(60, "Epochs at most; the cosine schedule spans them.", low=1, high=100_000)
    learning_rate: float = _setting(
        3e-4, "Initial learning rate of AdamW.", "--learning-rate", "--lr", above=0.0, high=10.0
    )
    weight_decay: float = _setting(0.05, "Weight decay of AdamW.", low=0.0, high=10.0)
    grad_clip_norm: float = _setting(1.0, "Clip the gradient's norm at this; 0 turns it off.", low=0.0)
    patience: int = _setting(
        10,
        "Stop after this many epochs without a better validation weighted F1; 0 never stops.",
        low=0,
        resumable=True,
    )
    sampler_alpha: float = _setting(
        0.5,
        "Sampling: a class is drawn with probability n^alpha / sum; 0 is uniform, 1 by frequency.",
        "--sampler-alpha",
        "--alpha",
        low=0.0,
        high=1.0,
    )
    loss_beta: float = _setting(
        0.999,
        "Loss weights by the Effective Number of Samples; 0 is unweighted, 1 the inverse frequency.",
        "--loss-beta",
        "--beta",
        low=0.0,
        high=1.0,
    )
    epoch_size_mult: float = _setting(
        1.5, "An epoch draws this many times the number of training images.", above=0.0, high=1000.0
    )
    save_every: int = _setting(
        0,
        "Also write last.pth after this many steps; 0 writes it after each epoch alone.",
        low=0,
        resumable=True,
    )
    on_bad_image: str = _setting(
        "fail",
        "A file that cannot be read: stop, or decode all first and leave such files out (exit code 1).",
        choices=("fail", "skip"),
        resumable=True,
    )
    num_workers: int | None = _setting(
        None,
        "Processes (threads, for scores) that read images.",
        low=0,
        high=256,
        automatic="one a CPU core, 8 at most",
        resumable=True,
        per_machine=True,
    )
    pin_memory: bool = _setting(
        True, "Pin host memory for faster copies to a CUDA device.", resumable=True, per_machine=True
    )
    cache: str = _setting(
        "auto",
        "Keep shrunken training images: in memory, or in a file of your cache folder.",
        choices=("auto", "off", "disk", "ram"),
        resumable=True,
        per_machine=True,
    )
    device: str = _setting(
        "auto", "Where to compute.", choices=("auto", "cpu", "cuda", "mps"), resumable=True
    )
    precision: str = _setting(
        "auto",
        "Arithmetic. auto: mixed precision where it is fast in training, fp32 for scores and predictions.",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    sync_batchnorm: bool = _setting(
        False, "Batch normalisation over the batches of all processes; on CUDA alone."
    )
    compile: bool = _setting(
        False, "Compile the model with torch.compile: for GPUs; takes minutes to start.", resumable=True
    )
    seed: int = _setting(42, "Seed of every random draw.", low=0, high=2**32 - 1)


FIELDS: dict[str, dataclasses.Field[Any]] = {field.name: field for field in dataclasses.fields(Settings)}
_TYPES: dict[str, Any] = typing.get_type_hints(Settings)


def spec(name: str) -> Spec:
    """The `Spec` of a setting, with its flags filled in."""
    found: Spec = FIELDS[name].metadata["spec"]
    return found if found.flags else dataclasses.replace(found, flags=("--" + name.replace("_", "-"),))


def value_type(name: str) -> type:
    """The type of a set value: int, float, bool, str or Path."""
    hint = _TYPES[name]
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return typing.cast(type, hint)


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
    """Settle each setting from the first of: option, environment, `.env`, config file, default.

    Args:
        options: what the command line gave; None is "not given".
        config: a TOML file whose keys are names of settings.
        environ: the environment; `os.environ` where it is None.
        dotenv: a file of `SKINLESION_NAME=value` lines; it need not exist. Other names in it are ignored.

    Raises:
        InputError: an unknown key, a value of the wrong type or out of range; the message names its origin.
    """
    values: dict[str, Any] = {}
    if config is not None:
        values |= _checked(_read_toml(config), str(config))
    values |= _checked(_read_dotenv(dotenv), str(dotenv))
    environment = os.environ if environ is None else environ
    values |= _checked(_from_environment(environment), "the environment")
    values |= _checked({name: value for name, value in options.items() if value is not None}, "")
    return Settings(**values)


def check(name: str, value: Any, origin: str = "") -> Any:
    """Convert `value` to the type of setting `name` and hold it against its range.

    Raises:
        InputError: it does not fit; the message names the setting, the value and `origin`.
    """
    known, kind = spec(name), value_type(name)
    label = known.flags[0] if not origin else f"{name} in {origin}"
    try:
        converted = _convert(value, kind)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{label}: {_shown(value)} is not {_KIND_NAMES[kind]}") from None
    if known.choices and converted not in known.choices:
        raise InputError(f"{label}: {_shown(value)} is not one of {', '.join(known.choices)}")
    if kind in (int, float):
        _check_range(label, converted, known)
    return converted


def _shown(value: Any) -> str:
    try:
        return quoted(value) if isinstance(value, str) else shortened(repr(value))
    # A number of thousands of digits has no decimal form, a deep list no form at all.
    except (ValueError, RecursionError):
        return f"this {type(value).__name__}"


def to_toml(settings: Settings, processes: int = 1) -> str:
    """The settings as a config file that reproduces them from any folder, and what to call it with."""
    import tomli_w

    values: dict[str, Any] = {}
    for name, value in dataclasses.asdict(settings).items():
        if isinstance(value, Path):
            value = str(value.absolute())
        if value is not None:
            values[name] = value
    command = "skinlesion" if processes == 1 else f"torchrun --nproc-per-node {processes} -m skinlesion_cli"
    return (
        f"# Reproduce this run: {command} train --config settings.toml --out ANOTHER_FOLDER\n"
        + tomli_w.dumps(values)
    )


_KIND_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path in UTF-8",
}
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


def _convert(value: Any, kind: type) -> Any:
    if kind is bool:
        text = str(value).strip().lower()
        if text not in _TRUE | _FALSE:
            raise ValueError
        return text in _TRUE
    # TOML's own types are not stretched: `epochs = true` or `epochs = 2.5` is a mistake.
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise TypeError
    if kind in (str, Path):
        if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
            raise TypeError
        # UnicodeEncodeError is a ValueError: the run's settings.toml could not hold such a name.
        str(value).encode()
        return kind(value)
    number = kind(value)
    if number != number:
        raise ValueError
    return number


def _check_range(label: str, value: float, known: Spec) -> None:
    high = 1e9 if known.high is None else known.high
    problem = ""
    if known.above is not None and value <= known.above:
        problem = f"above {known.above:g}"
    elif known.low is not None and value < known.low:
        problem = f"at least {known.low:g}"
    elif value > high:
        problem = f"at most {high:g}"
    if problem:
        raise InputError(f"{label}: {_shown(value)} is out of range; it must be {problem}")


def _checked(raw: Mapping[str, Any], origin: str) -> dict[str, Any]:
    values = {}
    for name, value in raw.items():
        if name not in FIELDS:
            raise InputError(f"{origin}: unknown setting {quoted(name)}{nearest(name, FIELDS)}")
        values[name] = check(name, value, origin)
    return values


def _read_toml(path: Path) -> dict[str, Any]:
    text = read_text(path, "the config file ")
    try:
        return tomllib.loads(text)
    # A number of thousands of digits is a ValueError of Python's own, as is a fault of the TOML.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from None


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv.parser import parse_stream

    values = {}
    for line in parse_stream(io.StringIO(read_text(path))):
        # Other programs' lines may be of any form; one that names this program is meant for it.
        if line.error and ENV_PREFIX in line.original.string:
            raise InputError(f"{path}, line {line.original.line}: it is not of the form NAME=value")
        if not line.error and line.key and line.key.startswith(ENV_PREFIX):
            values[line.key.removeprefix(ENV_PREFIX).lower()] = line.value or ""
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    # Other programs may use the prefix, so an unknown name here is no error; one in a file that the user
    # wrote for this program is.
    names = ((ENV_PREFIX + name.upper(), name) for name in FIELDS)
    return {name: environ[variable] for variable, name in names if variable in environ}
