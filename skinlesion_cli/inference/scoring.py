"""Scoring a model on a split of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Busy, Note, OnEvent, ignore
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.class_balance import ens_weights
from skinlesion_cli.data.eval_views import KeptViews
from skinlesion_cli.data.manifest import origins_of
from skinlesion_cli.data.splits import Split, named_as, read_split, require_classes
from skinlesion_cli.inference.backend import predict_split
from skinlesion_cli.inference.ensemble import mean_of
from skinlesion_cli.inference.journal import Journal
from skinlesion_cli.inference.predictor import Predictor
from skinlesion_cli.inference.tta import tta_section
from skinlesion_cli.metrics.arrays import Floats
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.class_map import ClassMap
from skinlesion_cli.metrics.classification import Scores
from skinlesion_cli.metrics.evaluation import evaluate
from skinlesion_cli.metrics.malignant import malignant_classes
from skinlesion_cli.metrics.paired import change_section
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.metrics.prior import retarget
from skinlesion_cli.metrics.study import ensemble_section
from skinlesion_cli.models.model_info import Description

VALIDATION = "val"
"""The split that thresholds are chosen on."""


def predict_and_evaluate(
    predictor: Predictor,
    split: Split,
    on_event: OnEvent = ignore,
    *,
    malignant: Sequence[str] | None = None,
    target_accuracy: float | None = None,
    flips: bool = False,
    kept: KeptViews | None = None,
    by: Mapping[str, Sequence[str]] | None = None,
    class_map: ClassMap | None = None,
    journal: Journal | None = None,
    world: World = ALONE,
) -> tuple[Predictions, Scores, dict[str, Any]]:
    """Predict every image of a split and score the predictions (see `predict_split` and `evaluate`).

    The confidence threshold for a `target_accuracy`, and that of the malignant class in subgroups (`by`), are
    chosen on the data set's `val`. For what a `class_map` leaves out, see `without_left_out`. The processes
    of `world` share the work, and a `journal` keeps the predictions (see `outcomes_of`).

    Raises:
        InputError: the split has other classes than the model, or the model lacks the malignant ones.
    """
    split = _in_classes_of(predictor, split, class_map)
    classes = predictor.classes if class_map is None else tuple(map(class_map.of_model, predictor.classes))
    dangerous = malignant_classes(tuple(dict.fromkeys(classes)), malignant)
    origins = origins_of(split.data_root, split.name, split.files)
    others = None
    if split.name != VALIDATION and (target_accuracy is not None or (by and dangerous)):
        others = _validation(predictor, split, class_map, on_event, needed=target_accuracy is not None)

    def predicted(images: Split) -> list[Predictions]:
        return [
            predict_split(
                one.backend,
                images,
                predictor.classes,
                batch_size=one.batch_size,
                workers=one.workers,
                on_event=on_event,
                temperature=one.temperature,
                flips=flips,
                kept=kept if images is split else None,
                world=world,
                section=journal.section(f"{images.name}, model {number}", images.paths, one.batch_size)
                if journal
                else None,
            )
            for number, one in enumerate(predictor.members, start=1)
        ]

    temperatures = [one.temperature for one in predictor.members]

    def moved(parts: list[Predictions]) -> list[Predictions]:
        return [_with_prior(*pair) for pair in zip(parts, predictor.members, strict=True)]

    def named(one: Predictions) -> Predictions:
        return one if class_map is None else class_map.merged(one)

    parts = predicted(split)
    original = named(mean_of(parts, temperatures))
    predictions = original if predictor.prior is None else named(mean_of(moved(parts), temperatures))
    validation = None if others is None else named(mean_of(moved(predicted(others)), temperatures))
    if split.name == VALIDATION and (target_accuracy is not None or by):
        validation = predictions
    on_event(Busy(f"computing scores and intervals of {split.name}"))
    scores, document = evaluate(
        predictions,
        split.name,
        _class_weights(predictor.checkpoint) if predictions.classes == predictor.classes else None,
        groups=origins.groups,
        sources=origins.sources,
        by=by,
        malignant=malignant,
        target_accuracy=target_accuracy,
        validation=validation,
    )
    bootstrap = Bootstrap(len(predictions), origins.groups)
    if len(parts) > 1:
        document["ensemble"] = ensemble_section(list(map(named, parts)), original, bootstrap)
    if predictor.prior is not None:
        document["prior"] = change_section(original, predictions, bootstrap) | {
            "trained": _by_class(predictor, predictor.trained_prior),
            "target": _by_class(predictor, predictor.prior.tolist()),
        }
    if flips:
        temperature, calibration = predictor.temperature, document["calibration"]
        document["tta"] = tta_section(predictions, temperature, origins.groups)
        if temperature is not None:
            # Each view was calibrated before the mean, so the scores are those after calibration.
            calibration |= {"temperature": temperature, "before": None, "after": calibration["before"]}
    return predictions, scores, document


def without_left_out(split: Split, class_map: ClassMap | None) -> tuple[Split, list[str]]:
    """The images of a split that a class map keeps, and the class of each image that it leaves out.

    Raises:
        InputError: there are none.
    """
    if class_map is None:
        return split, []
    names = [split.classes[label] for label in split.labels]
    rows = [row for row, name in enumerate(names) if not class_map.leaves_out(name)]
    if not rows:
        raise InputError(f"{class_map.path} leaves out every image of {split.where}")
    dropped = [name for name in names if class_map.leaves_out(name)]
    files, labels = tuple(split.files[row] for row in rows), tuple(split.labels[row] for row in rows)
    return replace(split, files=files, labels=labels), dropped


def _in_classes_of(predictor: Predictor, split: Split, class_map: ClassMap | None) -> Split:
    """The split with the model's own class names, which a class map may then merge."""
    split = named_as(split, predictor.classes)
    if class_map is None:
        require_classes(split, predictor.classes, "the checkpoint", complete=False)
        return split
    own = class_map.models_class([name for name, n in split.counts.items() if n], predictor.classes)
    classes = tuple(dict.fromkeys(own.values()))
    labels = tuple(classes.index(own[split.classes[label]]) for label in split.labels)
    return replace(split, classes=classes, labels=labels)


def _validation(
    predictor: Predictor, split: Split, class_map: ClassMap | None, on_event: OnEvent, *, needed: bool
) -> Split | None:
    """The images that thresholds are chosen on; None if there are none, and none are `needed`."""
    try:
        others = read_split(split.data_root, VALIDATION, on_event, complete=False, images_root=split.images)
        return _in_classes_of(predictor, without_left_out(others, class_map)[0], class_map)
    except InputError as error:
        if needed:
            raise
        on_event(Note(f"no threshold is chosen on validation: {error}"))
        return None


def _with_prior(predictions: Predictions, member: Predictor) -> Predictions:
    """The predictions for the member's other prior; its temperature was fitted for the training prior."""
    if member.prior is None or predictions.probabilities is None:
        return predictions
    moved = retarget(predictions.probabilities, member.trained_prior, member.prior)
    return replace(
        predictions, predicted=moved.argmax(axis=1), probabilities=moved, logits=None, temperature=None
    )


def _by_class(predictor: Predictor, shares: Sequence[float]) -> dict[str, float]:
    return dict(zip(predictor.classes, shares, strict=True))


def _class_weights(checkpoint: Description) -> Floats | None:
    beta, counts = checkpoint.settings.get("loss_beta"), checkpoint.class_counts
    if not isinstance(beta, int | float) or not 0 <= beta <= 1:
        return None
    if set(counts) != set(checkpoint.classes) or min(counts.values()) < 1:
        return None
    return np.array(ens_weights([counts[name] for name in checkpoint.classes], beta))
