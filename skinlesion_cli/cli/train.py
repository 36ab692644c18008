"""`skinlesion train`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import with_settings
from skinlesion_cli.common.errors import InterruptedRunError, PeerError
from skinlesion_cli.common.settings import FIELDS, Settings
from skinlesion_cli.common.world import Launch, World, read_launch

if TYPE_CHECKING:
    from skinlesion_cli.common.signals import Stopping
    from skinlesion_cli.data.file_hashes import Contents
    from skinlesion_cli.data.splits import Split
    from skinlesion_cli.training.resume import LastState
    from skinlesion_cli.training.run_folder import RunFolder
    from skinlesion_cli.training.trainer import Trainer

ECHO_SECONDS = 5.0
"""torchrun hands on a terminal's Ctrl-C, which came to each process already."""


@with_settings(*FIELDS)
def train(
    *,
    settings: Settings,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            envvar="SKINLESION_OUT",
            show_envvar=False,
            metavar="DIR",
            help="Where checkpoints/ and results/ go.",
        ),
    ] = Path(),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from checkpoints/last.pth.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False,
) -> int:
    """Train a classifier on DATA/train, choose the epoch on DATA/val, score it on all splits."""
    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.data.file_hashes import contents_of
    from skinlesion_cli.data.screening import agreed_splits
    from skinlesion_cli.data.splits import read_splits
    from skinlesion_cli.training.run_folder import RunFolder

    folder, launch = RunFolder(out), read_launch()
    # Joined first: a signal that comes while a process waits for the others ends it at once.
    with _joined(launch, settings) as world, _stops_told(folder, launch) as stopping:
        # torchrun counts the restarts of each machine for itself.
        (restarts,) = world.largest(launch.restarts)
        with world.together():
            splits = read_splits(settings.data_root, ["train", "val"], optional=["test"])
            if world.leads:
                resume, overwrite = _as_restarted(
                    folder, launch, restarts, resume=resume, overwrite=overwrite
                )
                folder.claim(resume=resume, overwrite=overwrite)
        with world.together():
            # Once for each machine.
            splits, unreadable = _readable(splits, settings) if launch.local_rank == 0 else (splits, [])
            contents = contents_of(splits) if launch.local_rank == 0 else {}
        splits = agreed_splits(splits, world)

        # Only now the seconds that torch takes: a wrong path is told at once.
        from skinlesion_cli.training.faults import named_faults
        from skinlesion_cli.training.trainer import Trainer

        last = _agreed_beginning(world, settings, contents, splits, folder, resume=resume)
        with named_faults(settings):
            with Display() as display:
                with world.together(), world.machine_first():
                    trainer = Trainer(
                        settings,
                        splits["train"],
                        splits["val"],
                        folder,
                        resume=resume or last is not None,
                        last=last,
                        contents=contents,
                        stopping=stopping,
                        world=world,
                        on_event=display.show,
                    )
                if world.leads:
                    _write_beginning(trainer, unreadable, resume=resume)
                trainer.run()
            with world.together():
                if world.leads:
                    _finish_and_score(trainer, splits)
    if unreadable:
        # Once more where the exit code comes from.
        console.warn(f"{len(unreadable)} files could not be read and were left out: {folder.unreadable}")
    return 1 if unreadable else 0


def _joined(launch: Launch, settings: Settings) -> World:
    """The processes that train together; only the first of several prints from here on."""
    if launch.size == 1:
        return World(launch)
    from skinlesion_cli.training.distributed import join

    world = join(launch, settings.device)
    if not world.leads:
        console.hush()
    return world


def _as_restarted(
    folder: "RunFolder", launch: Launch, restarts: int, *, resume: bool, overwrite: bool
) -> tuple[bool, bool]:
    """`resume` and `overwrite` as they are meant where torchrun has restarted a run that failed."""
    if restarts:
        from skinlesion_cli.training.resume import belongs_to

        if belongs_to(folder, launch.run_id):
            return True, False
    return resume, overwrite


def _agreed_beginning(
    world: World,
    settings: Settings,
    contents: "Contents",
    splits: "dict[str, Split]",
    folder: "RunFolder",
    *,
    resume: bool,
) -> "LastState | None":
    """See that several processes begin alike; returns what they go on from, where they go on."""
    if world.size == 1:
        return None
    from skinlesion_cli.training.distributed import read_last_together, require_same

    require_same(world, settings, contents, splits)
    (resumes,) = world.largest(int(resume))
    return read_last_together(world, folder) if resumes else None


@contextmanager
def _stops_told(folder: "RunFolder", launch: Launch) -> "Iterator[Stopping]":
    """Inside, a signal ends the work where it is safe, and the one line says how to go on."""
    from skinlesion_cli.common.signals import INTERRUPTED, Stopped, Stopping

    with Stopping(echo=ECHO_SECONDS if launch.run_id else 0.0) as stopping:
        try:
            yield stopping
        except KeyboardInterrupt as stop:
            there = folder.last.exists() or folder.previous.exists()
            hint = f"{folder.last} is whole, --resume goes on from it" if there else "nothing was saved yet"
            code = stop.exit_code if isinstance(stop, Stopped) else INTERRUPTED
            raise (InterruptedRunError if launch.rank == 0 else PeerError)(f"stopped; {hint}", code) from None


def _readable(splits: "dict[str, Split]", settings: Settings) -> "tuple[dict[str, Split], list[str]]":
    """See that the images can be read, or leave out those that cannot; returns why for each of them."""
    from skinlesion_cli.data.images import check_images
    from skinlesion_cli.data.screening import readable_splits
    from skinlesion_cli.data.workers import worker_count

    for split in splits.values():
        if split.left_out:
            console.note(f"{split.root}: {split.left_out} files without an image's suffix are left out")
    if settings.on_bad_image == "fail":
        check_images(path for split in splits.values() for path in split.paths)
        return splits, []
    kept, unreadable = readable_splits(splits, worker_count(settings.num_workers))
    if unreadable:
        console.warn(f"{len(unreadable)} files cannot be read and are left out")
    return kept, unreadable


def _write_beginning(trainer: "Trainer", unreadable: list[str], *, resume: bool) -> None:
    """What is known of a run before its first step."""
    from skinlesion_cli.curation.check_log import last_check
    from skinlesion_cli.data.file_hashes import write_contents
    from skinlesion_cli.data.screening import write_unreadable
    from skinlesion_cli.report import results
    from skinlesion_cli.training.environment import environment, record

    folder, settings = trainer.folder, trainer.settings
    console.note(last_check(settings.data_root))
    processes = trainer.world.size
    folder.write_settings(settings, processes)
    write_contents(folder.contents, trainer.contents)
    write_unreadable(folder.unreadable, unreadable)
    device = (f"{processes} × " if processes > 1 else "") + trainer.runtime.describe()
    entry = environment(device=device, command=sys.argv, seed=settings.seed, data=trainer.data)
    record(folder.environment, entry, resumed=resume)
    results.write_class_weights(folder.results, trainer.train_split.counts, settings)


def _finish_and_score(trainer: "Trainer", splits: "dict[str, Split]") -> None:
    """Calibrate the best epoch, score it on all splits, and print the table."""
    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.cli.tables import summary_table
    from skinlesion_cli.inference.predictor import load_predictor
    from skinlesion_cli.inference.scoring import predict_and_evaluate
    from skinlesion_cli.report import results
    from skinlesion_cli.training.finalize import finish

    settings, folder, history = trainer.settings, trainer.folder, trainer.progress.history
    with Display() as display:
        finish(
            folder.best,
            splits["train"],
            splits["val"],
            runtime=trainer.scoring_runtime,
            batch_size=settings.batch_size,
            workers=trainer.workers,
            on_event=display.show,
        )
        predictor = load_predictor(
            folder.best,
            device=settings.device,
            precision=settings.precision,
            batch_size=settings.batch_size,
            num_workers=settings.num_workers,
        )
        documents: dict[str, dict[str, Any]] = {}
        for name, split in splits.items():
            predictions, scores, documents[name] = predict_and_evaluate(predictor, split, display.show)
            results.write_split(folder.results, name, predictions, scores)
        results.write_run(folder.results, history, predictor.checkpoint.epoch, documents)
    console.out.print(summary_table(documents))
    console.out.print(f"95 % intervals: {documents['val']['ci95_method']}")
    console.out.print(
        f"\nbest epoch {predictor.checkpoint.epoch} of {len(history)}: {folder.best}", soft_wrap=True
    )
    console.out.print(f"scores and pictures: {folder.results}", soft_wrap=True)
