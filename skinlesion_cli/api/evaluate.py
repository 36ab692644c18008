"""`evaluate`: the scores of a model, or of a file of predictions."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinlesion_cli.api.given_predictions import predictions_of
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Busy, OnEvent, Warned, ignore
from skinlesion_cli.common.files import ensure_writable_folder, read_text, require_replaceable
from skinlesion_cli.common.limits import MAX_PLAIN_BYTES
from skinlesion_cli.common.tables import Tabular, html_table
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.manifest import check_manifest, manifest_of, origins_in
from skinlesion_cli.metrics import evaluation
from skinlesion_cli.metrics.class_map import left_out_text, read_class_map
from skinlesion_cli.metrics.classification import Scores
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.training.processes import require_same_work

if TYPE_CHECKING:
    from skinlesion_cli.inference.predictor import Predictor


@dataclass(frozen=True)
class Evaluation(Tabular):
    """The scores of a set of predictions."""

    predictions: Predictions
    scores: Scores
    document: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The document that `evaluate --json` prints; a metric that cannot be computed is None."""
        return self.document

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict per class: `class` and the fields of `ClassScores`, NaN if undefined."""
        return [{"class": name, **asdict(one)} for name, one in self.scores.per_class.items()]

    def _repr_html_(self) -> str:
        from skinlesion_cli.report.figures import LABELS, figure, interval, interval_of, split_title

        one = self.document
        rows = [
            {"score": label, "value": figure(one[name]), "95% interval": interval(interval_of(one, name))}
            for name, label in LABELS.items()
        ]
        split = f", {split_title(one['split'])} split" if one["split"] else ""
        return html_table(rows, f"{one['n']} images{split}")

    def save(self, folder: str | Path, figures: str = "png") -> str:
        """Write metrics.json, predictions.csv, confusion_matrix.png and, with probabilities, reliability.png.

        `figures` is their format, png, pdf or svg. Returns a warning if no font has the characters of a class
        name, which the figures then escape; otherwise an empty string.

        Raises:
            SkinLesionError: the folder cannot be written to.
        """
        from skinlesion_cli.report import fonts, results

        ensure_writable_folder(Path(folder))
        results.write_evaluation(Path(folder), self.predictions, self.scores, self.document, figures)
        return fonts.undrawable(self.scores.classes)


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
    by: Sequence[str] = (),
    metadata: str | Path | None = None,
    class_map: str | Path | None = None,
    truth: str | Path | None = None,
    tta: bool = False,
    out: str | Path | None = None,
    figures: str = "png",
    resume: bool = False,
    world: World = ALONE,
    on_event: OnEvent = ignore,
) -> Evaluation:
    """Score a model on a split of a data set, or score the predictions of any program.

    Args:
        checkpoint: the model: a file, a predictor (see `load_predictor`), or a function that loads one.
        data: with a checkpoint, the data set's folder or table.
        images: the folder that the files of a table are relative to; None for the table's own.
        split: name of the split.
        predictions: instead of a checkpoint and data, predictions or their CSV file.
        classes: with a file of predictions, its columns of probabilities; None finds them.
        manifest: with predictions, the manifest or table with lesion and source of each image of the split.
        validation: with predictions, the same model's predictions on validation, on which thresholds are
            chosen: for a target accuracy, and for malignant versus benign.
        malignant: the malignant classes; None takes the usual ones.
        target_accuracy: in [0, 1]; choose the confidence threshold on validation at which predictions are
            this accurate, and apply it here.
        by: columns of `metadata` or the manifest, such as sex, age and site: scores within their subgroups.
        metadata: CSV file with these columns, and one for the image (image_id, file, …).
        class_map: CSV file with the columns from,to: common names for the classes of the data and of the
            model. An empty `to` leaves out the images of a class.
        truth: with predictions, CSV file with the true classes: file,label, or one column of zeros and ones
            per class.
        tta: with a checkpoint, average over four flipped views (test-time augmentation).
        out: folder to save the results to (see `Evaluation.save`); with a checkpoint it is checked to be
            writable before the images are predicted.
        figures: format of the figures in it, png, pdf or svg.
        resume: with a checkpoint, reuse the predictions of an interrupted evaluation into `out`.
        world: the processes that share the images; only the first writes, and all return the scores.
        on_event: receives progress events.

    Raises:
        InputError: missing, contradictory or invalid input.
        UnreadableImageError: some images cannot be read.
        SkinLesionError: the model's outputs are not finite.
    """
    if out is not None:
        inputs = (predictions, validation, manifest, metadata, class_map, truth)
        given = [Path(one) for one in inputs if isinstance(one, str | Path)]
        require_replaceable([Path(out, "predictions.csv")], given, "--out")
        if checkpoint is None:
            _require_own(Path(out), None)
    if resume and (out is None or checkpoint is None):
        raise InputError("--resume needs a --checkpoint, whose predictions are kept in --out")
    if metadata is not None and not by:
        raise InputError("--metadata needs --by, which names its columns")
    names = None if class_map is None else read_class_map(Path(class_map))
    columns = _Columns(tuple(by), split, None if metadata is None else Path(metadata))
    options: dict[str, Any] = {"malignant": malignant, "target_accuracy": target_accuracy}
    model = journal = None
    if predictions is not None and checkpoint is None:
        if target_accuracy is not None and validation is None:
            raise InputError("with --predictions, --target-accuracy needs --validation too")
        if tta:
            raise InputError("--tta needs a model: use it with --checkpoint, not with --predictions")
        scored = predictions_of(predictions, classes, split, truth, names)
        chosen_on = None if validation is None else predictions_of(validation, classes, "val", None, names)
        table = None if manifest is None else Path(manifest)
        origins = {} if table is None else vars(origins_in(table, split, scored.images, on_event))
        cells, remarks = columns.of(scored.images, table)
        scores, document = evaluation.evaluate(scored, **options, **origins, by=cells, validation=chosen_on)
    elif predictions is None and checkpoint is not None and data is not None:
        from skinlesion_cli.data.splits import read_split
        from skinlesion_cli.inference.scoring import predict_and_evaluate, without_left_out

        for name, value, instead in (
            ("manifest", manifest, "--data has its own manifest.csv, or is a table"),
            ("validation", validation, "a checkpoint is run on the data set's val itself"),
            ("truth", truth, "--data has the true classes"),
        ):
            if value is not None:
                raise InputError(f"--{name} needs --predictions; {instead}")
        if names is not None and tta:
            raise InputError("--class-map and --tta exclude each other: use only one of them")
        images_root = None if images is None else Path(images)
        found = read_split(Path(data), split, on_event, complete=False, images_root=images_root)
        check_manifest(Path(data), [found], on_event)
        wanted, dropped = without_left_out(found, names)
        cells, remarks = columns.of(wanted.names, manifest_of(Path(data)))
        on_event(Busy("loading the model"))
        with world.together():
            predictor = _loaded(checkpoint)
            model = predictor.file
            if world.size > 1:
                require_same_work(world, wanted.names, predictor.made_with(flips=tta))
            if out is not None and world.leads:
                ensure_writable_folder(Path(out), make=False)
                _require_own(Path(out), model)
                journal = predictor.journal(
                    Path(out, "predictions.csv"), flips=tta, resume=resume, on_event=on_event
                )
        if names is not None:
            known = {*wanted.classes, *dropped}
            remarks += [left_out_text(names.path, dropped), names.unused(known, predictor.classes)]
        scored, scores, document = predict_and_evaluate(
            predictor,
            wanted,
            on_event,
            **options,
            flips=tta,
            by=cells,
            class_map=names,
            journal=journal,
            world=world,
        )
    else:
        raise InputError("evaluate needs either a checkpoint and data, or predictions")
    document["checkpoint"] = _name_of(model, Path(out or ""))
    document["class_map"] = None if names is None else dict(names.targets)
    document["warnings"] += filter(None, remarks)
    result = Evaluation(scored, scores, document)
    if out is not None and world.leads and (warning := result.save(out, figures)):
        on_event(Warned(warning))
    if journal is not None:
        journal.remove()
    return result


@dataclass(frozen=True)
class _Columns:
    """The columns that name the subgroups, and where they are."""

    names: tuple[str, ...]
    split: str
    metadata: Path | None

    def of(self, images: Sequence[str], own: Path | None) -> tuple[dict[str, list[str]], list[str]]:
        """The cells of each image, from the metadata or the data set's `own` table, and remarks on gaps."""
        if not self.names:
            return {}, []
        from skinlesion_cli.curation.metadata import joined_columns

        tables = [path for path in (self.metadata, own) if path is not None]
        return joined_columns(self.names, images, self.split, tables)


def _loaded(checkpoint: "str | Path | Predictor | Callable[[], Predictor]") -> "Predictor":
    from skinlesion_cli.inference.predictor import load_predictor

    if isinstance(checkpoint, str | Path):
        return load_predictor(checkpoint)
    return checkpoint() if callable(checkpoint) else checkpoint


def _name_of(model: Path | None, folder: Path) -> str | None:
    """How metrics.json in `folder` names a model: from there, so that a run can be moved as a whole."""
    return None if model is None else Path(os.path.relpath(model, folder)).as_posix()


def _require_own(folder: Path, model: Path | None) -> None:
    """InputError if `folder` contains the scores of another model, or those that `train` has written."""
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
        raise InputError(
            f"{folder} contains the scores of {whose}: remove it, or choose another folder with --out"
        )
