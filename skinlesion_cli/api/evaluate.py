"""`evaluate` scores a model or a file of predictions; `compare` compares two such files."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Busy, OnEvent, Warned, ignore
from skinlesion_cli.common.files import ensure_writable_folder, is_folder, read_text, require_replaceable
from skinlesion_cli.common.limits import MAX_PLAIN_BYTES
from skinlesion_cli.data.manifest import check_manifest, groups_in, origins_in, origins_of
from skinlesion_cli.metrics import evaluation, paired
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.classification import Scores
from skinlesion_cli.metrics.predictions import Predictions, read_predictions
from skinlesion_cli.training.run_folder import RunFolder

if TYPE_CHECKING:
    from skinlesion_cli.inference.predictor import Predictor


@dataclass(frozen=True)
class Evaluation:
    """The scores of a set of predictions."""

    predictions: Predictions
    scores: Scores
    document: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The document that `evaluate --json` prints; a figure that cannot be computed is None."""
        return self.document

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict per class: `class` and the fields of `ClassScores`, NaN if undefined."""
        return [{"class": name, **asdict(one)} for name, one in self.scores.per_class.items()]

    def save(self, folder: str | Path, figures: str = "png") -> str:
        """Write metrics.json, predictions.csv, confusion_matrix.png and, with probabilities, reliability.png.

        `figures` is their format, png, pdf or svg. Returns a warning if no font has the characters of a
        class's name, which the figures then escape; else an empty text.

        Raises:
            SkinLesionError: the folder cannot be written to.
        """
        from skinlesion_cli.report import fonts, results

        ensure_writable_folder(Path(folder))
        results.write_evaluation(Path(folder), self.predictions, self.scores, self.document, figures)
        return fonts.undrawable(self.scores.classes)


@dataclass(frozen=True)
class Comparison:
    """How the predictions of a model B differ from those of a model A on the same images."""

    pair: paired.Pair
    document: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The document that `compare --json` prints; a figure that cannot be computed is None."""
        return self.document

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict per summary figure: `metric`, `a`, `b`, `difference` (b − a), `low`, `high`."""
        rows = []
        for name, one in self.document["differences"].items():
            low, high = one["ci95"] or (None, None)
            figures = {key: one[key] for key in ("a", "b", "difference")}
            rows.append({"metric": name, **figures, "low": low, "high": high})
        return rows


def evaluate(
    checkpoint: "str | Path | Predictor | Callable[[], Predictor] | None" = None,
    *,
    data: str | Path | None = None,
    images: str | Path | None = None,
    split: str = "test",
    predictions: str | Path | Predictions | None = None,
    classes: Sequence[str] | None = None,
    manifest: str | Path | None = None,
    validation: str | Path | Predictions | None = None,
    malignant: Sequence[str] | None = None,
    target_accuracy: float | None = None,
    tta: bool = False,
    out: str | Path | None = None,
    figures: str = "png",
    on_event: OnEvent = ignore,
) -> Evaluation:
    """Score a model on a split of a data set, or score predictions made with any program.

    Args:
        checkpoint: the model: a file, a predictor (see `load_predictor`), or a function that loads one.
        data: with a checkpoint, the data set's folder or table.
        images: the folder that the files of a table are relative to; None for the table's own.
        split: name of the split.
        predictions: instead of a checkpoint and data, predictions or their CSV file.
        classes: with a file of predictions, its columns of probabilities; None finds them.
        manifest: with predictions, the manifest with lesion and source of each image of the split.
        validation: with predictions and a target accuracy, the same model's predictions on validation.
        malignant: the malignant classes; None takes the usual ones.
        target_accuracy: in [0, 1]; choose the confidence threshold on validation at which predictions are
            this accurate, and apply it here.
        tta: with a checkpoint, average over four flipped views (test-time augmentation).
        out: folder to save the results to (see `Evaluation.save`); with a checkpoint it is checked to be
            writable before the images are predicted.
        figures: format of the figures in it, png, pdf or svg.
        on_event: receives progress events.

    Raises:
        InputError: missing, contradictory or invalid input.
        UnreadableImageError: some images cannot be read.
        SkinLesionError: the model's outputs are not finite.
    """
    model = None
    if out is not None:
        given = [Path(one) for one in (predictions, validation, manifest) if isinstance(one, str | Path)]
        require_replaceable([Path(out, "predictions.csv")], given, "--out")
        if checkpoint is None:
            _require_own(Path(out), None)
    if predictions is not None and checkpoint is None:
        if (validation is None) != (target_accuracy is None):
            raise InputError("--predictions needs --target-accuracy and --validation together, or neither")
        if tta:
            raise InputError("--tta needs a model: use it with --checkpoint, not with --predictions")
        scored = _predictions(predictions, classes, split)
        origins = {} if manifest is None else vars(origins_in(Path(manifest), split, scored.images, on_event))
        chosen_on = None if validation is None else _predictions(validation, classes, "val")
        scores, document = evaluation.evaluate(
            scored, malignant=malignant, target_accuracy=target_accuracy, validation=chosen_on, **origins
        )
    elif predictions is None and checkpoint is not None and data is not None:
        from skinlesion_cli.data.splits import read_split
        from skinlesion_cli.inference.predictor import load_predictor
        from skinlesion_cli.inference.scoring import predict_and_evaluate

        if manifest is not None:
            raise InputError("--manifest goes with --predictions; --data has its own manifest.csv")
        if validation is not None:
            raise InputError("--validation goes with --predictions; a checkpoint is run on DATA/val itself")
        images_root = None if images is None else Path(images)
        wanted = read_split(Path(data), split, on_event, complete=False, images_root=images_root)
        check_manifest(Path(data), [wanted], on_event)
        on_event(Busy("loading the model"))
        predictor = load_predictor(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint
        predictor = predictor() if callable(predictor) else predictor
        model = predictor.file
        if out is not None:
            ensure_writable_folder(Path(out), make=False)
            _require_own(Path(out), model)
        scored, scores, document = predict_and_evaluate(
            predictor, wanted, on_event, malignant=malignant, target_accuracy=target_accuracy, flips=tta
        )
    else:
        raise InputError("evaluate needs either a checkpoint and data, or predictions")
    document["checkpoint"] = _name_of(model, Path(out or ""))
    result = Evaluation(scored, scores, document)
    if out is not None and (warning := result.save(out, figures)):
        on_event(Warned(warning))
    return result


def _name_of(model: Path | None, folder: Path) -> str | None:
    """How metrics.json in `folder` names a model: from there, so that a run can be moved as a whole."""
    return None if model is None else Path(os.path.relpath(model, folder)).as_posix()


def _require_own(folder: Path, model: Path | None) -> None:
    """InputError if `folder` holds the scores of another model, or those that `train` has written."""
    metrics = folder / "metrics.json"
    if not metrics.is_file():
        return
    try:
        earlier = json.loads(read_text(metrics, most=MAX_PLAIN_BYTES))
    except ValueError:
        earlier = None
    if not isinstance(earlier, dict):
        return
    owner = earlier.get("checkpoint")
    if "best_epoch" in earlier or (owner is not None and owner != _name_of(model, folder)):
        whose = "a training run" if owner is None else os.path.normpath(folder / str(owner))
        raise InputError(f"{folder} holds the scores of {whose}: remove it, or name another with --out")


def compare(
    a: str | Path | Predictions,
    b: str | Path | Predictions,
    *,
    manifest: str | Path | None = None,
    split: str = "test",
    seed: int = 0,
) -> Comparison:
    """Compare the predictions of two models on the same images, image by image.

    Args:
        a: predictions of one model, their CSV file, or the folder of a run, which has those of each split.
        b: predictions of another on the same images.
        manifest: the data set's manifest.csv: whole lesions or patients are resampled instead of images. None
            takes that of the data of run `a`, if it has one.
        split: split of the images, of a run and in the manifest.
        seed: of the bootstrap resamples.

    Raises:
        InputError: invalid input, or the images, classes or true classes of the two differ.
    """
    names = [letter if isinstance(one, Predictions) else str(one) for letter, one in (("A", a), ("B", b))]
    pair = paired.pair(_predictions(a, split=split), _predictions(b, split=split), (names[0], names[1]))
    groups = None
    if manifest is not None:
        groups = groups_in(Path(manifest), split, pair.a.images)
    elif not isinstance(a, Predictions) and (root := RunFolder(Path(a)).data[0]) is not None:
        groups = origins_of(root, split, [Path(image) for image in pair.a.images]).groups
    return Comparison(pair, paired.compare(pair, Bootstrap(len(pair.a), groups, seed=seed)))


def _predictions(
    source: str | Path | Predictions, classes: Sequence[str] | None = None, split: str = "test"
) -> Predictions:
    if isinstance(source, Predictions):
        return source
    path = Path(source)
    if is_folder(path):
        places = [path / "results" / f"{split}_predictions.csv", path / "predictions.csv"]
        found = next(filter(Path.is_file, places), None)
        if found is None:
            raise InputError(f"there is no {places[0]}: name the folder of a finished run, or a CSV file")
        path = found
    return read_predictions(path, classes)
