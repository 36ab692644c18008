"""The folder of a run: the paths of its files, and protection of an earlier run."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.csv_files import write_csv
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.common.files import ensure_writable_folder, partial_of, write_text
from skinlesion_cli.common.settings import Settings, to_toml

BEST_MODEL = Path("checkpoints/best_model.pth")
"""The default checkpoint of the other commands, relative to the run's folder."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of the files that `skinlesion train --out ROOT` writes."""

    root: Path

    @property
    def best(self) -> Path:
        """The best epoch's checkpoint."""
        return self.root / BEST_MODEL

    @property
    def last(self) -> Path:
        """The last checkpoint, with everything that resuming needs."""
        return self.best.with_name("last.pth")

    @property
    def previous(self) -> Path:
        """The checkpoint before `last`, in case that is damaged."""
        return self.best.with_name("last.previous.pth")

    @property
    def is_resumable(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self.last.exists() or self.previous.exists()

    @property
    def results(self) -> Path:
        """The folder of tables and pictures."""
        return self.root / "results"

    @property
    def contents(self) -> Path:
        """The list of the run's images and their hashes."""
        return self.results / "files.csv"

    @property
    def environment(self) -> Path:
        """Versions, device, command and data of the run."""
        return self.results / "environment.json"

    @property
    def unreadable(self) -> Path:
        """The list of unreadable files that were left out."""
        return self.results / "unreadable.txt"

    def claim(self, *, resume: bool, overwrite: bool) -> None:
        """Make the folders, unless that would overwrite an earlier run by mistake.

        Raises:
            InputError: the folder is not writable; it holds an earlier run and neither `resume` nor
                `overwrite` is given; there is no run to resume.
        """
        if resume and overwrite:
            raise InputError("--resume and --overwrite exclude each other")
        existing = [path for path in (self.last, self.previous, self.best) if path.exists()]
        if resume and not self.is_resumable:
            raise InputError(f"there is no {self.last} to resume from")
        if existing and not (resume or overwrite):
            raise InputError(
                f"{existing[0]} belongs to an earlier run: continue it with --resume, replace it with "
                "--overwrite, or name another folder with --out"
            )
        ensure_writable_folder(self.best.parent)
        ensure_writable_folder(self.results)
        # The unfinished file of a process that was killed while it wrote a checkpoint.
        for path in self.best.parent.iterdir():
            if partial_of(path) in (self.last, self.best):
                path.unlink(missing_ok=True)

    def remove_checkpoints(self) -> None:
        """Remove an earlier run's checkpoints, so that none is mistaken for one of the new run."""
        for path in (self.last, self.previous, self.best):
            path.unlink(missing_ok=True)

    def write_settings(self, settings: Settings, processes: int = 1) -> None:
        """Write results/settings.toml, which reproduces the run of this many processes with `--config`."""
        write_text(self.results / "settings.toml", to_toml(settings, processes))

    def write_history(self, history: list[EpochRecord]) -> None:
        """Write results/history.csv: one row per epoch, with all digits and no timings."""
        header = [field.name for field in dataclasses.fields(EpochRecord)]
        rows = [dataclasses.astuple(record) for record in history]
        write_csv(self.results / "history.csv", header, rows)
