"""The workflow of one training run, from settings to scores; each of several processes goes through it.

torch is imported late: errors in the settings, folders and images are reported before that slow import.
"""

import contextlib
import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from skinlesion_cli.common.errors import InterruptedRunError, PeerError
from skinlesion_cli.common.events import (
    Busy,
    EpochRecord,
    Note,
    OnEvent,
    RunScored,
    RunStarted,
    Warned,
    ignore,
)
from skinlesion_cli.common.extras import require_trackers
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.signals import INTERRUPTED, Stopped, Stopping
from skinlesion_cli.common.tables import Tabular
from skinlesion_cli.common.text import quoted
from skinlesion_cli.common.world import Launch, read_launch
from skinlesion_cli.curation.check_log import last_check
from skinlesion_cli.data.class_balance import balance_table
from skinlesion_cli.data.file_hashes import write_contents
from skinlesion_cli.data.manifest import check_manifest
from skinlesion_cli.data.screening import Screening, screen, write_unreadable
from skinlesion_cli.data.splits import Split, read_splits
from skinlesion_cli.data.workers import worker_count
from skinlesion_cli.models.start_weights import require_start_weights, with_located_weights
from skinlesion_cli.training.faults import named_faults
from skinlesion_cli.training.processes import joined
from skinlesion_cli.training.run_folder import RunFolder

if TYPE_CHECKING:
    from skinlesion_cli.training.trainer import Trainer

ECHO_SECONDS = 5.0
"""torchrun passes a terminal's Ctrl-C on to the processes, which have received it already."""


@dataclass(frozen=True)
class TrainingResult(Tabular):
    """A finished training run."""

    folder: Path
    checkpoint: Path
    """The best epoch's checkpoint."""
    history: tuple[EpochRecord, ...]
    """The record of every epoch, including those before the run was resumed."""
    best_epoch: int
    """The epoch with the best validation score (see `--select`), from 1: the one that is kept and scored."""
    documents: dict[str, dict[str, Any]]
    """The evaluation document of each split (see `evaluate`); of several processes, the first has them."""
    unreadable: tuple[str, ...]
    """One message for each file that was left out because it cannot be read (`on_bad_image="skip"`)."""

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-ready data."""
        return {
            "folder": str(self.folder),
            "checkpoint": str(self.checkpoint),
            "best_epoch": self.best_epoch,
            "history": self.rows(),
            "splits": self.documents,
            "unreadable": list(self.unreadable),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per epoch, as in history.csv: `result.to_frame()` is the learning curve."""
        return [dataclasses.asdict(one) for one in self.history]


def run_training(
    settings: Settings,
    folder: RunFolder,
    *,
    resume: bool,
    overwrite: bool,
    on_event: OnEvent,
    result_files: Callable[[], ModuleType],
) -> TrainingResult:
    """Train a model, select its best epoch on validation, and score that on all splits.

    Args:
        resume: continue from the folder's last checkpoint.
        overwrite: replace an earlier run in the folder.
        on_event: receives progress events; of several processes, only the first sends them.
        result_files: returns the module that writes tables and figures, `report.results`, which training must
            not import.

    Raises:
        SkinLesionError: see `skinlesion_cli.train`.
    """
    launch = read_launch()
    # Joined first: a signal immediately ends a process that waits for the others.
    with joined(launch, settings.device) as world, _stoppable(folder, launch) as stopping:
        tell = on_event if world.leads else ignore
        # Each machine counts torchrun's restarts on its own.
        (restarts,) = world.largest(launch.restarts)
        with world.together():
            settings = with_located_weights(settings)
            splits = read_splits(
                settings.data_root, ["train", "val"], ["test"], tell, images_root=settings.images_root
            )
            if world.leads:
                require_trackers(settings.track)
                check_manifest(settings.data_root, splits.values(), tell)
                resume = _claim(folder, launch, restarts, resume=resume, overwrite=overwrite)
                if not resume:
                    require_start_weights(settings)
        with world.together():
            screening = _screen(splits, settings, launch, tell)

        tell(Busy("loading PyTorch"))
        from skinlesion_cli.models.device import preserved_precision
        from skinlesion_cli.training.agreement import agreed_splits, read_last_together, require_same
        from skinlesion_cli.training.trainer import Trainer

        screening = dataclasses.replace(screening, splits=agreed_splits(screening.splits, world))
        require_same(world, settings, screening)
        (resumes,) = world.largest(int(resume))
        with preserved_precision(), named_faults(settings, folder):
            last = read_last_together(world, folder) if resumes else None
            with world.together(), world.machine_first():
                trainer = Trainer(
                    settings, screening, folder, last=last, stopping=stopping, world=world, on_event=tell
                )
            if world.leads:
                _write_start(trainer, resumed=resume)
                result_files().write_class_weights(folder.results, trainer.train_split.counts, settings)
                tell(_prior_event(trainer.train_split.counts, settings))
                tell(Note(last_check(settings.data_root, settings.images_root)))
                before = tuple(trainer.progress.history)
                tell(RunStarted(folder.root, settings, before, resumed=resume))
            history = trainer.run()
            documents: dict[str, dict[str, Any]] = {}
            with world.together():
                if world.leads:
                    documents = _score(trainer, result_files())
                    pictures = result_files().pictures(folder.results, documents, settings.figures)
                    tell(RunScored(tuple(history), documents, pictures))
    best = max(one.epoch for one in history if one.best)
    return TrainingResult(
        folder.root, folder.best, tuple(history), best, documents, tuple(screening.unreadable)
    )


@contextlib.contextmanager
def _stoppable(folder: RunFolder, launch: Launch) -> Iterator[Stopping]:
    """Inside, a signal stops the run at a point where nothing is lost; the error says how to continue.

    Outside the main thread Python cannot handle signals, and the run does not stop for them.
    """
    stopping = Stopping(echo=ECHO_SECONDS if launch.run_id else 0.0)
    handles = threading.current_thread() is threading.main_thread()
    with stopping if handles else contextlib.nullcontext():
        try:
            yield stopping
        except KeyboardInterrupt as stop:
            saved = f"{folder.last} is intact; continue with --resume"
            hint = saved if folder.is_resumable else "nothing was saved yet"
            code = stop.exit_code if isinstance(stop, Stopped) else INTERRUPTED
            raise (InterruptedRunError if launch.rank == 0 else PeerError)(f"stopped; {hint}", code) from None


def _claim(folder: RunFolder, launch: Launch, restarts: int, *, resume: bool, overwrite: bool) -> bool:
    """Claim the folder for this run; returns whether it is resumed."""
    # torchrun has restarted the processes of this run: continue from what they have saved.
    if restarts and launch.run_id is not None and folder.is_resumable:
        from skinlesion_cli.training.resume import read_last

        if read_last(folder)[0]["training"]["run_id"] == launch.run_id:
            resume, overwrite = True, False
    folder.claim(resume=resume, overwrite=overwrite)
    return resume


def _screen(splits: dict[str, Split], settings: Settings, launch: Launch, tell: OnEvent) -> Screening:
    """Open each image once per machine; without facts if another process does it."""
    if launch.local_rank > 0:
        return Screening(splits, {}, [])
    workers, skip = worker_count(settings.num_workers), settings.on_bad_image == "skip"
    screening = screen(splits, img_size=settings.img_size, skip=skip, workers=workers, on_event=tell)
    if screening.unreadable:
        tell(Warned(f"{len(screening.unreadable)} files cannot be read and are left out"))
    return screening


def _write_start(trainer: "Trainer", *, resumed: bool) -> None:
    """Write the files that describe a run, before its first step."""
    from skinlesion_cli.training.environment import environment, record

    folder, settings, processes = trainer.folder, trainer.settings, trainer.world.size
    folder.write_settings(settings, processes)
    contents = trainer.screening.contents
    write_contents(folder.contents, contents)
    write_unreadable(folder.unreadable, trainer.screening.unreadable)
    device = (f"{processes} × " if processes > 1 else "") + trainer.runtime.describe()
    entry = environment(device=device, command=sys.argv, seed=settings.seed, contents=contents)
    record(folder.environment, entry, resumed=resumed)


def _prior_event(counts: dict[str, int], settings: Settings) -> Note | Warned:
    """The effective class prior of this run; a warning if the rarest class outweighs the most common one."""
    table = balance_table(counts, settings.loss_beta, settings.sampler_alpha)
    most, least = max(table, key=lambda one: one.count), min(table, key=lambda one: one.count)
    if least.count == most.count:
        return Note("all classes have the same number of training images")
    shares = ", ".join(
        f"{quoted(one.name)} {one.share:.1%} of the images, {one.effective_prior:.1%} of the loss"
        for one in (most, least)
    )
    text = f"effective prior of training: {shares}"
    if least.effective_prior <= most.effective_prior:
        return Note(text)
    hint = "the rarest class counts more than the most common one: compare with --recipe plain or long-tail"
    return Warned(f"{text}; {hint}")


def _score(trainer: "Trainer", files: ModuleType) -> dict[str, dict[str, Any]]:
    """Finalize the best epoch and score it on all splits, with the network that was trained."""
    from skinlesion_cli.inference.scoring import predict_and_evaluate
    from skinlesion_cli.training.finalize import finalize

    folder, tell = trainer.folder, trainer.on_event
    predictor = finalize(
        folder.best,
        trainer.model,
        trainer.train_split,
        trainer.val_split,
        runtime=trainer.scoring_runtime,
        batch_size=trainer.settings.batch_size,
        workers=trainer.workers,
        val_views=trainer.val_views,
        on_event=tell,
    )
    documents: dict[str, dict[str, Any]] = {}
    figures = trainer.settings.figures
    for name, split in trainer.screening.splits.items():
        views = trainer.val_views if name == "val" else None
        predictions, scores, documents[name] = predict_and_evaluate(predictor, split, tell, kept=views)
        files.write_split(folder.results, name, predictions, scores, figures)
    best = predictor.checkpoint.epoch
    rate = predictor.checkpoint.false_alarm_rate
    files.write_run(folder.results, trainer.progress.history, best, documents, figures, false_alarm_rate=rate)
    return documents
