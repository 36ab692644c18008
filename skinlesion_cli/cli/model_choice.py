"""The options that name a trained model."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from skinlesion_cli.cli.options import option
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import fault_of, read_text, refuse_faulty
from skinlesion_cli.common.limits import MAX_MODEL_BYTES, MAX_TEXT_BYTES
from skinlesion_cli.common.settings import Settings, checked
from skinlesion_cli.models.model_info import BEST_MODEL, EXPORTED, model_in
from skinlesion_cli.training.run_folder import RunFolder, run_of

if TYPE_CHECKING:
    from skinlesion_cli.inference.predictor import Predictor
    from skinlesion_cli.models.checkpoint import Checkpoint

_CHECKPOINT = option(
    "--checkpoint",
    f"The trained model, or the folder of its run. Default: {BEST_MODEL}.",
    "FILE",
    show_default=False,
)
_RUN = option("--run", "Folder of a run: its best model; its data too, unless --data is given.", "DIR")
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

    checkpoint: Annotated[Path | None, _CHECKPOINT] = None
    run: Annotated[Path | None, _RUN] = None
    arch: Annotated[str | None, _ARCH] = None
    classes: Annotated[str | None, _CLASSES] = None
    img_size: Annotated[str | None, _IMG_SIZE] = None

    @property
    def file(self) -> Path:
        """The model's file."""
        if self.run is not None and self.checkpoint is not None:
            raise InputError("--run and --checkpoint exclude each other: use only one of them")
        named = self.run or self.checkpoint or os.environ.get("SKINLESION_CHECKPOINT")
        return model_in(Path(named)) if named else BEST_MODEL

    def data_root(self, settings: Settings) -> Path:
        """The data set's folder: as the settings say, else that of the run which was named."""
        folder = self.run or self.checkpoint
        if "data_root" in settings.model_fields_set or folder is None or not folder.is_dir():
            return settings.data_root
        return RunFolder(run_of(self.file) or folder).data_root or settings.data_root

    def _require_file(self) -> None:
        # Before the seconds that importing torch takes.
        fault = fault_of(self.file, MAX_MODEL_BYTES)
        refuse_faulty(self.file, fault, ": train a model first, or name one with --checkpoint or --run")

    def require_weights(self, reason: str) -> None:
        """Refuse a missing file, and an exported model; `reason` says why the command cannot use one."""
        self._require_file()
        if self.file.suffix.lower() in EXPORTED:
            raise InputError(f"{self.file}: {reason}")

    def load_checkpoint(self) -> "Checkpoint":
        """Load the weights and their description."""
        from skinlesion_cli.models.checkpoint import load_checkpoint

        return load_checkpoint(self.file, **self._description())

    def load(self, settings: Settings) -> "Predictor":
        """Load the model for predictions, as the settings say."""
        self._require_file()
        from skinlesion_cli.inference.predictor import load_predictor

        return load_predictor(
            self.file,
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
