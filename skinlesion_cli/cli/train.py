"""`skinlesion train`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.options import with_settings
from skinlesion_cli.core.settings import FIELDS, Settings


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
    from skinlesion_cli.cli.tables import summary_table
    from skinlesion_cli.core.folders import read_splits
    from skinlesion_cli.core.images import check_images
    from skinlesion_cli.core.run_folder import RunFolder
    from skinlesion_cli.data.record import last_check

    splits = read_splits(settings.data_root, ["train", "val"], optional=["test"])
    folder = RunFolder(out)
    folder.claim(resume=resume, overwrite=overwrite)
    for split in splits.values():
        if split.left_out:
            console.note(f"{split.root}: {split.left_out} files without an image's suffix are left out")
    check_images(path for split in splits.values() for path in split.paths)

    # Only now the seconds that torch takes: a wrong path is told at once.
    from skinlesion_cli.core.evaluation import predict_and_evaluate
    from skinlesion_cli.core.finishing import finish
    from skinlesion_cli.core.predictor import load_predictor
    from skinlesion_cli.core.training import Trainer
    from skinlesion_cli.report import results

    with Display() as display:
        trainer = Trainer(
            settings, splits["train"], splits["val"], folder, resume=resume, on_event=display.show
        )
        console.note(last_check(settings.data_root))
        folder.write_settings(settings)
        results.write_class_weights(folder.results, splits["train"].counts, settings)
        try:
            history = trainer.run()
        except KeyboardInterrupt:
            console.note("--resume goes on after the last finished epoch")
            raise
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
    return 0
