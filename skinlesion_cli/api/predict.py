"""`predict_files`: predictions for many files, by several processes or in parts, resumable."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Busy, OnEvent, ignore
from skinlesion_cli.common.world import read_launch
from skinlesion_cli.training.processes import joined, require_same_work

if TYPE_CHECKING:
    from skinlesion_cli.inference.prediction import Failure, Prediction
    from skinlesion_cli.inference.predictor import Predictor

WHOLE = (1, 1)
"""The only part of a command that is not an array job."""


def predict_files(
    load: "Callable[[], Predictor]",
    paths: Sequence[Path],
    *,
    csv: Path | None = None,
    isic: bool = False,
    flips: bool = False,
    resume: bool = False,
    part: tuple[int, int] = WHOLE,
    device: str = "auto",
    on_event: OnEvent = ignore,
    on_result: "Callable[[Prediction | Failure], None]",
) -> tuple[int, int]:
    """Predict files; returns how many were predicted, and how many could not be read.

    Processes that torchrun started divide the files among them; only the first one writes, and calls
    `on_event` and `on_result`. Finished batches are kept beside `csv` until it is complete.

    Args:
        load: loads the model.
        paths: the files.
        csv: the file to write, atomically.
        isic: whether its columns are those that the ISIC challenges score.
        flips: whether to average over flipped views (test-time augmentation).
        resume: reuse what earlier commands have finished, including all parts.
        part: (i, n): compute only every n-th batch, from the i-th on, and write no file.
        device: as in `load_predictor`.
        on_event: receives progress events.
        on_result: receives each result, in the order of the files.

    Raises:
        InputError: contradictory arguments, an invalid model, or earlier results without `resume`.
    """
    launch = read_launch()
    if csv is None and (resume or part != WHOLE):
        raise InputError("--resume and --part need --csv FILE: finished batches are kept beside it")
    if launch.size > 1 and part != WHOLE:
        raise InputError("--part needs a single process: start the parts without torchrun")
    with joined(launch, device) as world:
        tell = on_event if world.leads else ignore
        with world.together():
            from skinlesion_cli.inference.isic import isic_columns, write_isic
            from skinlesion_cli.inference.prediction import Failure
            from skinlesion_cli.metrics.predictions import DISTANCE, FOREIGN, write_rows

            tell(Busy("loading the model"))
            predictor = load()
            if world.size > 1:
                require_same_work(world, (path.name for path in paths), predictor.made_with(flips=flips))
            columns = isic_columns(predictor.classes, tell) if isic else None
            journal = None
            if csv is not None and world.leads:
                journal = predictor.journal(csv, flips=flips, resume=resume, part=part, on_event=tell)
        results = predictor.predict_many(paths, flips=flips, on_event=tell, journal=journal, world=world)
        counts = [0, 0]

        def predictions() -> "Iterator[Prediction]":
            for one in results:
                if world.leads:
                    on_result(one)
                counts[isinstance(one, Failure)] += 1
                if not isinstance(one, Failure):
                    yield one

        if journal is None or csv is None or part != WHOLE:
            for _ in predictions():
                pass
        elif columns is not None:
            write_isic(csv, columns, predictions())
        else:
            rows = ((one.image, "", one.label, one.values()) for one in predictions())
            write_rows(csv, (*predictor.classes, FOREIGN, DISTANCE), rows)
        if journal is not None and part == WHOLE:
            journal.remove()
    return counts[0], counts[1]
