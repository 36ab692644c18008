"""The options that name a trained model."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from skinlesion_cli.cli.model_options import (
    ARCH,
    CHECKPOINT,
    CLASSES,
    CROP,
    EMA,
    FIT,
    IMG_SIZE,
    INTERPOLATION,
    MEAN,
    NORMALIZATION,
    RUN,
    STD,
)
from skinlesion_cli.cli.startup import importing
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import NO_FILE, fault_of, refuse_faulty
from skinlesion_cli.common.limits import MAX_MODEL_BYTES
from skinlesion_cli.common.settings import Settings, checked
from skinlesion_cli.models.class_names import list_of_classes, read_class_names
from skinlesion_cli.models.model_info import BEST_MODEL, EXPORTED, models_in, refuse_unloadable
from skinlesion_cli.models.preprocessing import numbers
from skinlesion_cli.training.run_folder import RunFolder, run_of

if TYPE_CHECKING:
    from skinlesion_cli.inference.predictor import Predictor
    from skinlesion_cli.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class ModelChoice:
    """The options that name a trained model, and describe it where its file does not."""

    checkpoint: Annotated[list[Path] | None, CHECKPOINT] = None
    run: Annotated[Path | None, RUN] = None
    arch: Annotated[str | None, ARCH] = None
    classes: Annotated[str | None, CLASSES] = None
    img_size: Annotated[str | None, IMG_SIZE] = None
    normalization: Annotated[str | None, NORMALIZATION] = None
    mean: Annotated[str | None, MEAN] = None
    std: Annotated[str | None, STD] = None
    interpolation: Annotated[str | None, INTERPOLATION] = None
    crop_pct: Annotated[float | None, CROP] = None
    fit: Annotated[str | None, FIT] = None
    ema: Annotated[bool | None, EMA] = None

    @property
    def models(self) -> list[Path]:
        """The files of the models: several for an ensemble."""
        if self.run is not None and self.checkpoint:
            raise InputError("--run and --checkpoint exclude each other: use only one of them")
        named = [self.run] if self.run else self.checkpoint or []
        if not named and (variable := os.environ.get("SKINLESION_CHECKPOINT")):
            named = [Path(variable)]
        return [model for path in named for model in models_in(path)] or [BEST_MODEL]

    @property
    def file(self) -> Path:
        """The model's file; InputError if there are several."""
        first, *others = self.models
        if others:
            raise InputError(f"this takes one model, not {1 + len(others)}: {first}, {others[0]}")
        return first

    def data(self, settings: Settings) -> tuple[Path, Path | None]:
        """The data set, a folder or a table, and of a table the folder that its files are relative to.

        Those of the settings, or else those of the given run.
        """
        folder = self.run or (self.checkpoint[0] if self.checkpoint else None)
        if "data_root" in settings.model_fields_set or folder is None or not folder.is_dir():
            return settings.data_root, settings.images_root
        if len(self.models) > 1:
            raise InputError(f"{folder} contains several runs: give the data set with --data")
        data_root, images_root = RunFolder(run_of(self.file) or folder).data
        return data_root or settings.data_root, settings.images_root or images_root

    def require(self, without: str | None = None) -> None:
        """Refuse a missing file; with `without`, which says why it cannot be used, also an exported model."""
        # Before the seconds that importing torch takes.
        for file in self.models:
            fault = fault_of(file, MAX_MODEL_BYTES)
            if fault != NO_FILE:
                if without and file.suffix.lower() in EXPORTED:
                    raise InputError(f"{file}: {without}")
                refuse_unloadable(file)
            refuse_faulty(file, fault, ": train a model first, or choose one with --checkpoint or --run")

    def load_checkpoint(self) -> "Checkpoint":
        """Load the weights and their description."""
        with importing():
            from skinlesion_cli.models.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(self.file, **self._description())
        _tell(checkpoint.notes)
        return checkpoint

    def load(self, settings: Settings, *, prior: str | None = None) -> "Predictor":
        """Load the model, or the ensemble, for predictions, as the settings say.

        For `prior`, see `Predictor.with_prior`.
        """
        self.require()
        names = ("device", "precision", "batch_size", "num_workers")
        runs_with = {name: getattr(settings, name) for name in names}
        with importing():
            from skinlesion_cli.inference.ensemble import load_models

            predictor = load_models(self.models, **self._description(), **runs_with)
        _tell(dict.fromkeys(note for one in predictor.members for note in one.checkpoint.notes))
        return predictor if prior is None else predictor.with_prior(prior)

    def _description(self) -> dict[str, Any]:
        size = None if self.img_size is None else checked("img_size", self.img_size)
        return {
            "arch": self.arch,
            "classes": self.class_names(),
            "img_size": size,
            "normalization": self.normalization,
            "mean": numbers("mean", self.mean),
            "std": numbers("std", self.std),
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
            "fit": self.fit,
            "ema": self.ema,
        }

    def files(self) -> list[Path]:
        """The files that these options name; no output may replace them."""
        return [*self.models, *filter(None, [list_of_classes(self.classes)])]

    def class_names(self) -> list[str] | None:
        """The names given with --classes."""
        return None if self.classes is None else read_class_names(self.classes)


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        console.note(note)
