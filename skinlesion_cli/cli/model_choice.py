"""The options that name a trained model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from skinlesion_cli.cli.options import option
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import fault_of, read_text, refuse_faulty
from skinlesion_cli.common.limits import MAX_MODEL_BYTES, MAX_TEXT_BYTES
from skinlesion_cli.common.settings import Settings, checked
from skinlesion_cli.models.model_info import EXPORTED
from skinlesion_cli.training.run_folder import BEST_MODEL

if TYPE_CHECKING:
    from skinlesion_cli.inference.predictor import Predictor
    from skinlesion_cli.models.checkpoint import Checkpoint

_CHECKPOINT = option(
    "--checkpoint",
    f"The trained model. Default: {BEST_MODEL}.",
    "FILE",
    envvar="SKINLESION_CHECKPOINT",
    show_default=False,
)
_ARCH = option("--arch --model-arch", "Backbone, for a checkpoint that does not name it.", "TEXT")
_CLASSES = option(
    "--classes",
    "Classes, in the order of the outputs, for a checkpoint that does not name them; "
    "or a text file with one class per line.",
    "A,B,…",
)
_IMG_SIZE = option("--img-size", "Input side in pixels, for a checkpoint that does not give it.", "INTEGER")


@dataclass(frozen=True)
class ModelChoice:
    """The options that name a trained model, and describe it where its file does not."""

    checkpoint: Annotated[Path, _CHECKPOINT] = BEST_MODEL
    arch: Annotated[str | None, _ARCH] = None
    classes: Annotated[str | None, _CLASSES] = None
    img_size: Annotated[str | None, _IMG_SIZE] = None

    def _require_file(self) -> None:
        # Before the seconds that importing torch takes.
        fault = fault_of(self.checkpoint, MAX_MODEL_BYTES)
        refuse_faulty(self.checkpoint, fault, ": train a model first, or name one with --checkpoint")

    def require_weights(self, reason: str) -> None:
        """Refuse a missing file, and an exported model; `reason` says why the command cannot use one."""
        self._require_file()
        if self.checkpoint.suffix.lower() in EXPORTED:
            raise InputError(f"{self.checkpoint}: {reason}")

    def load_checkpoint(self) -> "Checkpoint":
        """Load the weights and their description."""
        from skinlesion_cli.models.checkpoint import load_checkpoint

        return load_checkpoint(self.checkpoint, **self._description())

    def load(self, settings: Settings, *, needs_weights: str | None = None) -> "Predictor":
        """Load the model for predictions, as the settings say; `needs_weights`: see `require_weights`."""
        self.require_weights(needs_weights) if needs_weights else self._require_file()
        from skinlesion_cli.inference.predictor import load_predictor

        return load_predictor(
            self.checkpoint,
            **self._description(),
            device=settings.device,
            precision=settings.precision,
            batch_size=settings.batch_size,
            num_workers=settings.num_workers,
        )

    def _description(self) -> dict[str, Any]:
        size = None if self.img_size is None else checked("img_size", self.img_size)
        return {"arch": self.arch, "classes": self.class_names(), "img_size": size}

    def class_names(self) -> list[str] | None:
        """The names given with --classes."""
        if self.classes is None:
            return None
        path = Path(self.classes)
        # A list of many classes is too long for the name of a file.
        is_file = not fault_of(path, MAX_TEXT_BYTES)
        lines = read_text(path, "the classes in ").splitlines() if is_file else self.classes.split(",")
        return [line.strip() for line in lines if line.strip()]
