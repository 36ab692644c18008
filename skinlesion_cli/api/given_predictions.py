"""Predictions that were given as values, as their file, or as the folder of a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import is_folder
from skinlesion_cli.metrics.class_map import ClassMap
from skinlesion_cli.metrics.predictions import Predictions, read_predictions


def predictions_of(
    source: str | Path | Predictions,
    classes: Sequence[str] | None = None,
    split: str = "test",
    truth: str | Path | None = None,
    class_map: ClassMap | None = None,
) -> Predictions:
    """The predictions; for a run, those of the split.

    Args:
        source: predictions, their CSV file, or the folder of a run.
        classes: the columns of probabilities in the file; None finds them.
        split: the split of a run.
        truth: a table with the true classes, for a file.
        class_map: names under which the classes agree.

    Raises:
        InputError: there is no such file, or it is invalid.
    """
    if isinstance(source, Predictions):
        if truth is not None:
            raise InputError(
                "a truth table needs a file of predictions; these predictions contain the true classes"
            )
        return source if class_map is None else class_map.merged(source)
    path = Path(source)
    if is_folder(path):
        places = [path / "results" / f"{split}_predictions.csv", path / "predictions.csv"]
        found = next(filter(Path.is_file, places), None)
        if found is None:
            raise InputError(f"there is no {places[0]}: name the folder of a finished run, or a CSV file")
        path = found
    remarks: list[str] = []

    def true_classes(images: Sequence[str]) -> list[str | None]:
        from skinlesion_cli.curation.metadata import truth_of

        labels, told = truth_of(Path(str(truth)), images)
        remarks.extend(told)
        return labels

    made = read_predictions(path, classes, truth=true_classes if truth else None, class_map=class_map)
    return replace(made, remarks=(*remarks, *made.remarks))
