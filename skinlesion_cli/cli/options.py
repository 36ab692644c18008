"""Command-line options made from the settings, so that each default and help text stands in one place."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skinlesion_cli.common import settings as core_settings
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import fault_of, read_text, refuse_faulty
from skinlesion_cli.common.limits import MAX_MODEL_BYTES, MAX_TEXT_BYTES
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.models.model_info import EXPORTED
from skinlesion_cli.training.run_folder import BEST_MODEL

if TYPE_CHECKING:
    from skinlesion_cli.inference.predictor import Predictor
    from skinlesion_cli.models.checkpoint import Checkpoint

_METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]

TtaOption = Annotated[
    bool, typer.Option("--tta", help="Average each answer over four flipped views, at four times the time.")
]


@dataclass(frozen=True)
class ModelChoice:
    """Which trained model a command shall use, and what the file does not say of itself."""

    checkpoint: Path
    arch: str | None
    classes: str | None
    """Names between commas, or a file with one name a line."""
    img_size: int | None

    def require_file(self) -> None:
        """See that the checkpoint is there, before the seconds that torch takes.

        Raises:
            InputError: it is not.
        """
        fault = fault_of(self.checkpoint, MAX_MODEL_BYTES)
        refuse_faulty(self.checkpoint, fault, ": train a model first, or name one with --checkpoint")

    def require_weights(self, reason: str) -> None:
        """See that the checkpoint is no exported model.

        Args:
            reason: why the command cannot take one, and what to do.

        Raises:
            InputError: it is one.
        """
        if self.checkpoint.suffix.lower() in EXPORTED:
            raise InputError(f"{self.checkpoint}: {reason}")

    def load_checkpoint(self) -> "Checkpoint":
        """Load the weights and what is known of them."""
        from skinlesion_cli.models.checkpoint import load_checkpoint

        return load_checkpoint(
            self.checkpoint, arch=self.arch, classes=self._class_names(), img_size=self.img_size
        )

    def load(self, settings: Settings) -> "Predictor":
        """Load it, to compute as the settings say."""
        from skinlesion_cli.inference.predictor import load_predictor

        return load_predictor(
            self.checkpoint,
            arch=self.arch,
            classes=self._class_names(),
            img_size=self.img_size,
            device=settings.device,
            precision=settings.precision,
            batch_size=settings.batch_size,
            num_workers=settings.num_workers,
        )

    def _class_names(self) -> list[str] | None:
        if self.classes is None:
            return None
        path = Path(self.classes)
        # A list of many classes is too long for the name of a file.
        is_file = not fault_of(path, MAX_TEXT_BYTES)
        lines = read_text(path, "the classes in ").splitlines() if is_file else self.classes.split(",")
        return [line.strip() for line in lines if line.strip()]


def with_settings(*names: str, model: bool = False) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command an option for each named setting, and `--config` and `--verbose`.

    The command gets the resolved `Settings` as its keyword argument `settings` and, with `model`, the options
    that name a trained model as `model`, a `ModelChoice`.
    """
    chosen = _MODEL_OPTIONS if model else []

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        own = [
            parameter
            for parameter in inspect.signature(command).parameters.values()
            if parameter.name not in {"settings", "model"}
        ]

        @functools.wraps(command)
        def run(*, config: Path | None, verbose: bool, **values: Any) -> int:  # noqa: ARG001 - see app.main
            options = {name: values.pop(name) for name in names}
            if chosen:
                values["model"] = ModelChoice(**{one.name: values.pop(one.name) for one in chosen})
            return command(settings=core_settings.resolve(options, config=config), **values)

        parameters = [*own, *chosen, *(_parameter(name) for name in names), *_COMMON]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(name: str) -> inspect.Parameter:
    known = core_settings.spec(name)
    kind = core_settings.value_type(name)
    help_text = f"{known.help} Default: {core_settings.default_text(name)}."
    if kind is bool:
        flag = known.flags[0]
        option = typer.Option(f"{flag}/--no-{flag[2:]}", help=help_text, show_default=False)
        return _keyword(name, Annotated[bool | None, option], None)
    # Texts on purpose: `settings.check` converts them and words every fault, wherever a value comes from.
    metavar = "|".join(known.choices) if known.choices else _METAVARS[kind]
    option = typer.Option(*known.flags, metavar=metavar, help=help_text, show_default=False)
    return _keyword(name, Annotated[str | None, option], None)


_MODEL_OPTIONS = [
    _keyword(
        "checkpoint",
        Annotated[
            Path,
            typer.Option(
                "--checkpoint",
                envvar="SKINLESION_CHECKPOINT",
                show_envvar=False,
                metavar="FILE",
                help=f"The trained model. Default: {BEST_MODEL}.",
                show_default=False,
            ),
        ],
        BEST_MODEL,
    ),
    _keyword(
        "arch",
        Annotated[
            str | None,
            typer.Option(
                "--arch",
                "--model-arch",
                metavar="TEXT",
                help="Backbone of a checkpoint that does not name it.",
            ),
        ],
        None,
    ),
    _keyword(
        "classes",
        Annotated[
            str | None,
            typer.Option(
                "--classes",
                metavar="A,B,…",
                help="Classes of a checkpoint that does not name them, in the order of its outputs; "
                "or a text file with one a line.",
            ),
        ],
        None,
    ),
    _keyword(
        "img_size",
        Annotated[
            int | None,
            typer.Option(
                "--img-size",
                min=1,
                max=4096,
                help="Input side, in pixels, of a checkpoint that does not name it.",
            ),
        ],
        None,
    ),
]
_COMMON = [
    _keyword(
        "config",
        Annotated[
            Path | None, typer.Option("--config", metavar="FILE", help="TOML file of settings, by name.")
        ],
        None,
    ),
    _keyword(
        "verbose", Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error.")], False
    ),
]
