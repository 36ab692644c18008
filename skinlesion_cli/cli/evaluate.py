"""`skinlesion evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import JsonOption, PriorOption, ResumeOption, TtaOption, option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import ignore
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.world import read_launch
from skinlesion_cli.training.processes import joined
from skinlesion_cli.training.run_folder import run_of

if TYPE_CHECKING:
    from skinlesion_cli.api.evaluate import Evaluation

_PREDICTIONS = option("--predictions", "Score predictions instead of a model.", "FILE.csv")
_ORIGINS = "With --predictions: lesion and source of each image (class/file) of the --split."
_MANIFEST = option("--manifest", _ORIGINS, "FILE.csv")
_CLASSES = "The malignant classes. Default: melanoma, basal and squamous cell carcinoma."
_MALIGNANT = option("--malignant", _CLASSES, "A,B,…")
_ACCURATE = "Apply the confidence threshold at which validation predictions are this accurate."
_TARGET = option("--target-accuracy", _ACCURATE, "NUMBER", min=0.0, max=1.0)
_TUNED_ON = "With --predictions: the same model's predictions on validation, for thresholds."
_VALIDATION = option("--validation", _TUNED_ON, "FILE.csv")
_COLUMN = "Scores by sex, age, site, tone, … (can be repeated): a column of --metadata or the manifest."
_BY = option("--by", _COLUMN, "COLUMN")
_METADATA = option(
    "--metadata", "For --by: a table of the images, such as HAM10000_metadata.csv.", "FILE.csv"
)
_RENAMED = "Common names (from,to) for the classes of data and model; an empty `to` leaves images out."
_CLASS_MAP = option("--class-map", _RENAMED, "FILE.csv")
_TRUTH = option("--truth", "With --predictions: the true classes (file,label, or ISIC's).", "FILE.csv")
_FOLDER = "Folder for scores, predictions and figures. Default: results/evaluation/SPLIT, in the model's run."
_OUT = option("--out", _FOLDER, "DIR")


@with_settings("data_root", "images_root", "batch_size", "num_workers", "device", "precision", "figures")
def evaluate(
    *,
    settings: Settings,
    model: ModelChoice,
    split: Annotated[str, option("--split", "Split of the data set.", "NAME")] = "test",
    predictions: Annotated[Path | None, _PREDICTIONS] = None,
    manifest: Annotated[Path | None, _MANIFEST] = None,
    malignant: Annotated[str | None, _MALIGNANT] = None,
    target_accuracy: Annotated[float | None, _TARGET] = None,
    validation: Annotated[Path | None, _VALIDATION] = None,
    truth: Annotated[Path | None, _TRUTH] = None,
    class_map: Annotated[Path | None, _CLASS_MAP] = None,
    by: Annotated[list[str] | None, _BY] = None,
    metadata: Annotated[Path | None, _METADATA] = None,
    tta: TtaOption = False,
    prior: PriorOption = None,
    resume: ResumeOption = False,
    out: Annotated[Path | None, _OUT] = None,
    json: JsonOption = False,
) -> int:
    """Score a checkpoint on a split, or a CSV file of predictions."""
    from skinlesion_cli.api import evaluate as api

    if prior is not None and (tta or predictions):
        raise InputError("--prior needs a --checkpoint, and cannot be combined with --tta")
    home = run_of(model.file) if not predictions and len(model.models) == 1 else None
    folder = out or Path(home or "", "results/evaluation", "predictions" if predictions else split)
    data, images = (None, None) if predictions else model.data(settings)
    with joined(read_launch(), settings.device) as world, Display() as display:
        result = api.evaluate(
            None if predictions else lambda: model.load(settings, prior=prior),
            data=data,
            images=images,
            split=split,
            predictions=predictions,
            classes=model.class_names() if predictions else None,
            manifest=manifest,
            validation=validation,
            malignant=malignant,
            target_accuracy=target_accuracy,
            truth=truth,
            class_map=class_map,
            by=by or (),
            metadata=metadata,
            tta=tta,
            out=folder,
            figures=settings.figures,
            resume=resume,
            world=world,
            on_event=display.show if world.leads else ignore,
        )
    if not world.leads:
        return 0
    for text in result.document["warnings"]:
        console.warn(text)
    if json:
        console.print_json(result.to_dict())
    else:
        _print(result, predictions.name if predictions else split)
    console.note(f"scores, predictions and figures: {folder}")
    return 0


def _print(result: "Evaluation", name: str) -> None:
    from skinlesion_cli.cli.terminal import tables
    from skinlesion_cli.report.figures import method

    document = result.document
    console.out.print(tables.class_table(result.scores))
    console.out.print()
    console.out.print(tables.summary_table({name: document}))
    for section, table in tables.SECTIONS.items():
        if document[section]:
            console.out.print()
            console.out.print(table(document[section]))
    for column in document["subgroups"] or {}:
        console.out.print()
        console.out.print(tables.subgroup_text(document, column))
    console.paragraph(f"\n95% intervals: {method(document)}")
