"""The folder of a run: the paths of its files, and protection of an earlier run."""

import dataclasses
import os
from pathlib import Path

from skinlesion_cli.common.csv_files import write_csv
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.common.files import ensure_writable_folder, partial_of, write_text
from skinlesion_cli.common.resolve import resolve
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.settings_file import to_toml
from skinlesion_cli.models.model_info import BEST_MODEL


def run_of(model: Path) -> Path | None:
    """The folder of the run that wrote a model to its checkpoints/, or None."""
    folder = model.parent.parent
    return folder if model.parent.name == BEST_MODEL.parent.name and (folder / "results").is_dir() else None


class RunFolder:
    """Paths of the files that `skinlesion train --out ROOT` writes."""

    def __init__(self, root: Path):
        self.root, self.results = root, root / "results"
        self.best = root / BEST_MODEL
        self.last = self.best.with_name("last.pth")
        """The last checkpoint, with everything that resuming needs."""
        self.previous = self.best.with_name("last.previous.pth")
        """The checkpoint before `last`, in case that is damaged."""
        self.contents = self.results / "files.csv"
        """The list of the run's images and their hashes."""
        self.environment = self.results / "environment.json"
        self.unreadable = self.results / "unreadable.txt"

    @property
    def is_resumable(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self.last.exists() or self.previous.exists()

    def claim(self, *, resume: bool, overwrite: bool) -> None:
        """InputError if a run here would overwrite an earlier one, none can be resumed, or access is denied.

        Creates no folder: the run may fail before its first step.
        """
        if resume and overwrite:
            raise InputError("--resume and --overwrite exclude each other")
        existing = [path for path in (self.last, self.previous, self.best) if path.exists()]
        if resume and not self.is_resumable:
            raise InputError(f"there is no {self.last} to resume from")
        if existing and not (resume or overwrite):
            raise InputError(
                f"{existing[0]} belongs to an earlier run: continue it with --resume, replace it with "
                "--overwrite, or choose another folder with --out"
            )
        for folder in (self.best.parent, self.results):
            ensure_writable_folder(folder, make=False)

    def make(self) -> None:
        """Create the folders, and remove what a killed process left in them."""
        self.best.parent.mkdir(parents=True, exist_ok=True)
        self.results.mkdir(exist_ok=True)
        # The unfinished file of a process that was killed while it wrote a checkpoint.
        for path in self.best.parent.iterdir():
            if partial_of(path) in (self.last, self.best):
                path.unlink(missing_ok=True)

    def remove_checkpoints(self) -> None:
        """Remove an earlier run's checkpoints, so that none is mistaken for one of the new run."""
        for path in (self.last, self.previous, self.best):
            path.unlink(missing_ok=True)

    @property
    def data(self) -> tuple[Path | None, Path | None]:
        """The data set and the folder of a table's images, from the run's settings; None without."""
        settings = self.results / "settings.toml"
        if not settings.is_file():
            return None, None
        read = resolve({}, config=settings, environ={}, dotenv=Path(os.devnull))
        return read.data_root, read.images_root

    def write_settings(self, settings: Settings, processes: int = 1) -> None:
        """Write results/settings.toml, which reproduces the run of this many processes with `--config`."""
        write_text(self.results / "settings.toml", to_toml(settings, processes))

    def write_history(self, history: list[EpochRecord]) -> None:
        """Write results/history.csv: one row per epoch, with all digits and no timings."""
        header = [field.name for field in dataclasses.fields(EpochRecord)]
        rows = [dataclasses.astuple(record) for record in history]
        write_csv(self.results / "history.csv", header, rows)
