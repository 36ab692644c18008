"""`skinlesion evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from skinlesion_cli.cli import console
from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import JsonOption, TtaOption, with_settings
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.settings import Settings


@with_settings("data_root", "batch_size", "num_workers", "device", "precision", model=True)
def evaluate(
    *,
    settings: Settings,
    model: ModelChoice,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Folder of the data set.")] = "test",
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", metavar="FILE.csv", help="Score these predictions, made anywhere, and no model."
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            metavar="FILE.csv",
            help="With --predictions: the manifest that knows lesion and source of each image, "
            "which are called class/file in the split named by --split.",
        ),
    ] = None,
    malignant: Annotated[
        str | None,
        typer.Option(
            "--malignant",
            metavar="A,B,…",
            help="The malignant classes. Default: Melanoma, Basal cell carcinoma, Squamous cell carcinoma, "
            "as far as the model has them.",
        ),
    ] = None,
    target_accuracy: Annotated[
        float | None,
        typer.Option(
            "--target-accuracy",
            metavar="NUMBER",
            min=0.0,
            max=1.0,
            help="Find on validation the confidence above which answers are this accurate, and try it here.",
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            "--validation",
            metavar="FILE.csv",
            help="With --predictions and --target-accuracy: the same model's predictions on validation.",
        ),
    ] = None,
    tta: TtaOption = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where metrics.json, predictions.csv and the pictures go. "
            "Default: results/evaluation/SPLIT.",
        ),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Score a checkpoint on a split, or a CSV file of predictions."""
    from skinlesion_cli.common.files import ensure_writable_folder

    dangerous = None if malignant is None else [name.strip() for name in malignant.split(",") if name.strip()]
    if manifest is not None and predictions is None:
        raise InputError(
            "--manifest goes with --predictions; --data has its manifest beside the split folders"
        )
    if predictions is None and validation is not None:
        raise InputError("--validation goes with --predictions; a checkpoint's are made from DATA/val")
    if predictions is not None and (validation is None) != (target_accuracy is None):
        raise InputError("--predictions takes --target-accuracy and --validation together, or neither")
    if predictions is not None and tta:
        raise InputError("--tta needs the model: it goes with --checkpoint and not with --predictions")
    folder = out or Path("results/evaluation", "predictions" if predictions else split)
    if predictions is not None:
        from skinlesion_cli.data.manifest import origins_in
        from skinlesion_cli.metrics import evaluation
        from skinlesion_cli.metrics.predictions import read_predictions

        scored = read_predictions(predictions)
        origins = None if manifest is None else origins_in(manifest, split, scored.images)
        scores, document = evaluation.evaluate(
            scored,
            groups=None if origins is None else origins.groups,
            sources=None if origins is None else origins.sources,
            malignant=dangerous,
            target_accuracy=target_accuracy,
            validation=None if validation is None else read_predictions(validation),
        )
        ensure_writable_folder(folder)
    else:
        from skinlesion_cli.data.splits import read_split

        images = read_split(settings.data_root, split)
        model.require_file()
        ensure_writable_folder(folder)

        from skinlesion_cli.cli.progress import Display
        from skinlesion_cli.inference.scoring import predict_and_evaluate

        predictor = model.load(settings)
        with Display() as display:
            scored, scores, document = predict_and_evaluate(
                predictor,
                images,
                display.show,
                malignant=dangerous,
                target_accuracy=target_accuracy,
                flips=tta,
            )

    from skinlesion_cli.report import results

    results.write_evaluation(folder, scored, scores, document)
    for text in document["warnings"]:
        console.warn(text)
    if json:
        console.print_json(document)
    else:
        from skinlesion_cli.cli import tables

        console.out.print(tables.class_table(scores))
        console.out.print()
        name = split if predictions is None else predictions.name
        console.out.print(tables.summary_table({name: document}))
        for section, table in tables.SECTIONS.items():
            if document[section]:
                console.out.print()
                console.out.print(table(document[section]))
        console.out.print(f"\n95 % intervals: {document['ci95_method']}")
    console.note(f"scores, predictions and pictures: {folder}")
    return 0
