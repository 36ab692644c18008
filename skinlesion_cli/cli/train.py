"""`skinlesion train`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import with_settings
from skinlesion_cli.core.errors import InterruptedRunError
from skinlesion_cli.core.settings import FIELDS, Settings

if TYPE_CHECKING:
    from skinlesion_cli.core.folders import Split
    from skinlesion_cli.core.run_folder import RunFolder
    from skinlesion_cli.core.stopping import Stopping
    from skinlesion_cli.core.training import Trainer


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
    from skinlesion_cli.core.contents import contents_of
    from skinlesion_cli.core.folders import read_splits
    from skinlesion_cli.core.run_folder import RunFolder

    folder = RunFolder(out)
    with _stops_told(folder) as stopping:
        splits = read_splits(settings.data_root, ["train", "val"], optional=["test"])
        folder.claim(resume=resume, overwrite=overwrite)
        splits, unreadable = _readable(splits, settings)
        contents = contents_of(splits)

        # Only now the seconds that torch takes: a wrong path is told at once.
        from skinlesion_cli.core.faults import named_faults
        from skinlesion_cli.core.training import Trainer

        with named_faults(settings):
            with Display() as display:
                trainer = Trainer(
                    settings,
                    splits["train"],
                    splits["val"],
                    folder,
                    resume=resume,
                    contents=contents,
                    stopping=stopping,
                    on_event=display.show,
                )
                _write_beginning(trainer, unreadable, resume=resume)
                trainer.run()
            _finish_and_score(trainer, splits)
    if unreadable:
        # Once more where the exit code comes from.
        console.warn(f"{len(unreadable)} files could not be read and were left out: {folder.unreadable}")
    return 1 if unreadable else 0


@contextmanager
def _stops_told(folder: "RunFolder") -> "Iterator[Stopping]":
    """Inside, a signal ends the work where it is safe, and the one line says how to go on."""
    from skinlesion_cli.core.stopping import INTERRUPTED, Stopped, Stopping

    with Stopping() as stopping:
        try:
            yield stopping
        except KeyboardInterrupt as stop:
            there = folder.last.exists() or folder.previous.exists()
            hint = f"{folder.last} is whole, --resume goes on from it" if there else "nothing was saved yet"
            code = stop.exit_code if isinstance(stop, Stopped) else INTERRUPTED
            raise InterruptedRunError(f"stopped; {hint}", code) from None


def _readable(splits: "dict[str, Split]", settings: Settings) -> "tuple[dict[str, Split], list[str]]":
    """See that the images can be read, or leave out those that cannot; returns why for each of them."""
    from skinlesion_cli.core.images import check_images
    from skinlesion_cli.core.screening import readable_splits
    from skinlesion_cli.core.workers import worker_count

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
    from skinlesion_cli.core.contents import write_contents
    from skinlesion_cli.core.environment import environment, record
    from skinlesion_cli.core.screening import write_unreadable
    from skinlesion_cli.data.record import last_check
    from skinlesion_cli.report import results

    folder, settings = trainer.folder, trainer.settings
    console.note(last_check(settings.data_root))
    folder.write_settings(settings)
    write_contents(folder.contents, trainer.contents)
    write_unreadable(folder.unreadable, unreadable)
    device = trainer.runtime.describe()
    entry = environment(device=device, command=sys.argv, seed=settings.seed, data=trainer.data)
    record(folder.environment, entry, resumed=resume)
    results.write_class_weights(folder.results, trainer.train_split.counts, settings)


def _finish_and_score(trainer: "Trainer", splits: "dict[str, Split]") -> None:
    """Calibrate the best epoch, score it on all splits, and print the table."""
    from skinlesion_cli.cli.progress import Display
    from skinlesion_cli.cli.tables import summary_table
    from skinlesion_cli.core.evaluation import predict_and_evaluate
    from skinlesion_cli.core.finishing import finish
    from skinlesion_cli.core.predictor import load_predictor
    from skinlesion_cli.report import results

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
